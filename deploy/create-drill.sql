-- What a drill may change in the database: functions of the schema drill, each for one thing, and only
-- flashover_drill may call them. And the roles of its jobs: a report, a nightly job, a migration. Run by psql after
-- create-roles.sql, in the same session, with the variable drill_password. It may run again.

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['flashover_drill', 'flashover_dba', 'reporting', 'nightly', 'migrator']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE flashover_drill LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'drill_password';
ALTER ROLE reporting LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'drill_password';
ALTER ROLE nightly LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'drill_password';
ALTER ROLE migrator LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'drill_password';
GRANT CONNECT ON DATABASE flashover TO flashover_drill, reporting, nightly, migrator;
GRANT flashover_app TO reporting;
GRANT flashover_owner TO nightly, migrator;

-- Owns the functions. It may alter the service's role and signal sessions, and nobody can log in as it.
ALTER ROLE flashover_dba NOLOGIN NOSUPERUSER NOCREATEDB CREATEROLE;
GRANT flashover_app, reporting, nightly, migrator TO flashover_dba WITH ADMIN OPTION;
GRANT pg_signal_backend, pg_read_all_stats TO flashover_dba;

CREATE SCHEMA IF NOT EXISTS drill AUTHORIZATION flashover_dba;
SET ROLE flashover_dba;

-- How many sessions the service's role may have; -1: any number.
CREATE OR REPLACE FUNCTION drill.set_connection_limit(connections integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF connections IS NULL OR connections NOT BETWEEN -1 AND 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a connection limit is from -1 to 1000';
    END IF;
    EXECUTE format('ALTER ROLE flashover_app CONNECTION LIMIT %s', connections);
END
$$;

-- A time-out of the later sessions of the service and of the jobs; NULL: the server's own.
CREATE OR REPLACE FUNCTION drill.set_timeout(name text, milliseconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_role text;
BEGIN
    IF name IS NULL OR name NOT IN ('idle_in_transaction_session_timeout', 'client_connection_check_interval') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s is no time-out that a drill may set', name);
    ELSIF milliseconds NOT BETWEEN 0 AND 3600000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a time-out is from 0 to 3600000 ms';
    END IF;
    FOREACH of_role IN ARRAY ARRAY['flashover_app', 'reporting', 'nightly', 'migrator'] LOOP
        IF milliseconds IS NULL THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE flashover RESET %I', of_role, name);
        ELSE
            EXECUTE format('ALTER ROLE %I IN DATABASE flashover SET %I = %L', of_role, name, milliseconds);
        END IF;
    END LOOP;
END
$$;

-- Whether a session is one of those that people on call may end: the service's, or one of a role that only drills use.
CREATE OR REPLACE FUNCTION drill.may_signal(session integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE pid = session AND usename IN ('flashover_app', 'reporting', 'nightly', 'migrator'))
$$;

-- Both return whether there was such a session.
CREATE OR REPLACE FUNCTION drill.end_session(session integer) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT drill.may_signal(session) AND pg_terminate_backend(session)
$$;

CREATE OR REPLACE FUNCTION drill.cancel_query(session integer) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT drill.may_signal(session) AND pg_cancel_backend(session)
$$;

-- Ends the sessions that are idle in a transaction, as a time-out would that had been there before. Returns whether
-- there were any.
CREATE OR REPLACE FUNCTION drill.end_idle() RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
    WHERE state LIKE 'idle in transaction%' AND drill.may_signal(pid)
$$;

-- The role as it was made.
CREATE OR REPLACE FUNCTION drill.reset() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT drill.set_connection_limit(-1);
    SELECT drill.set_timeout('idle_in_transaction_session_timeout', NULL);
    SELECT drill.set_timeout('client_connection_check_interval', NULL);
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA drill FROM PUBLIC;
REVOKE ALL ON SCHEMA drill FROM PUBLIC;
GRANT USAGE ON SCHEMA drill TO flashover_drill;
GRANT EXECUTE ON FUNCTION drill.set_connection_limit, drill.set_timeout, drill.end_session, drill.cancel_query,
    drill.end_idle, drill.reset
    TO flashover_drill;
RESET ROLE;
