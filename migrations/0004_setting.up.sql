-- Settings: options of the service that a row here beats at its next start.

CREATE TABLE setting (
    name text PRIMARY KEY,
    value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Toggles and settings are read together, so one notice serves both.
CREATE TRIGGER toggle_notify
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON setting
    FOR EACH STATEMENT EXECUTE FUNCTION toggle_notify();

GRANT SELECT, INSERT, UPDATE, DELETE ON setting TO flashover_control;

-- The end of a reset too (down all, up): a service that runs meanwhile reads its settings again, which are all gone.
SELECT pg_notify('flashover_toggle', '');
