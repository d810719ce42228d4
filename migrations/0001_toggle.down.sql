DROP TABLE toggle;
DROP FUNCTION toggle_notify();
REVOKE USAGE ON SCHEMA public FROM flashover_app, flashover_control;
