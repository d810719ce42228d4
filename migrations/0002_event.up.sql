-- What happened, for the postmortem: starts, crashes noticed at the next start, toggles, runs.

CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    replica text NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX event_at ON event (at);

-- Append-only: the service can add to its history but not rewrite it.
GRANT SELECT, INSERT ON event TO flashover_control;
