-- What delivery needs beside the ledger.

-- What was settled and is not yet a touchpoint (email_sent ...).
ALTER TABLE orchestrator.send ADD COLUMN told bool NOT NULL DEFAULT false;
CREATE INDEX send_untold ON orchestrator.send (workspace_id, updated_at) WHERE NOT told AND state IN ('sent', 'failed');

-- Where webhooks go, each with a signing secret of its own. An address that a journey names directly gets its row, and
-- so its secret, at its first use.
CREATE TABLE orchestrator.destination (
    workspace_id int NOT NULL,
    name text NOT NULL,                          -- the name that journeys use, or the address itself
    url text NOT NULL,
    secret text NOT NULL,                        -- whsec_..., of Standard Webhooks
    created_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, name)
);
