-- The exporter's role. It may read the server's figures and the table of events, and no other data. psql runs this
-- after create-roles.sql, with the variable monitor_password; compose-migrate.sh lets the role read events once the
-- migrations have made the table.
SELECT 'CREATE ROLE flashover_monitor' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'flashover_monitor') \gexec
SET password_encryption = 'scram-sha-256';
ALTER ROLE flashover_monitor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'monitor_password';
GRANT pg_monitor TO flashover_monitor;
GRANT CONNECT ON DATABASE flashover TO flashover_monitor;
