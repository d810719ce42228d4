-- The three roles and the database, made by a superuser before the first migration. Run by psql with the variables
-- owner_password, app_password and control_password. It may run again: it then sets the passwords anew.
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['flashover_owner', 'flashover_app', 'flashover_control']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

-- Never as clear text: an old server or a wrong setting must not end in an md5 hash either.
SET password_encryption = 'scram-sha-256';
ALTER ROLE flashover_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE flashover_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
ALTER ROLE flashover_control LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'control_password';

SELECT 'CREATE DATABASE flashover OWNER flashover_owner ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'flashover')
\gexec

-- Seeding takes a tenth of the time with lz4, since nearly all of it goes into compressing the lists of the feeds.
SELECT 'ALTER DATABASE flashover SET default_toast_compression = lz4'
FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)
\gexec

REVOKE ALL ON DATABASE flashover FROM PUBLIC;
GRANT CONNECT ON DATABASE flashover TO flashover_app, flashover_control;

-- So that whoever is on call sees in pg_stat_activity what the other roles' sessions do.
GRANT pg_read_all_stats TO flashover_owner;

-- Up to PostgreSQL 14 the schema belongs to the superuser and everyone may create in it.
\connect flashover
ALTER SCHEMA public OWNER TO flashover_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
