-- Run-time toggles. A row here beats the start option of the same name, so a change survives the crash that it causes.

CREATE TABLE toggle (
    name text PRIMARY KEY,
    value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The notice carries nothing: whoever hears it reads the whole table, so that a lost or a merged notice does no harm.
CREATE FUNCTION toggle_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('flashover_toggle', '');
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION toggle_notify() FROM PUBLIC;

CREATE TRIGGER toggle_notify
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON toggle
    FOR EACH STATEMENT EXECUTE FUNCTION toggle_notify();

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO flashover_app, flashover_control;

GRANT SELECT, INSERT, UPDATE, DELETE ON toggle TO flashover_control;
