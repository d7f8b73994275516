-- The control plane of an installation: who may ask, who may look. Secrets are stored as hashes only.

CREATE TABLE console.workspace (
    workspace_id int PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO console.workspace (workspace_id, name) VALUES (1, 'default');

-- Keys of the query API (Authorization: Bearer). A revoked key stays, so that the list says when it ended.
CREATE TABLE console.api_key (
    workspace_id int NOT NULL REFERENCES console.workspace,
    key_id int GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'admin')),
    secret_hash bytea NOT NULL,
    ends_with text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    PRIMARY KEY (workspace_id, key_id),
    UNIQUE (workspace_id, secret_hash)
);

-- One-time links to the console. At most one is open at a time.
CREATE TABLE console.first_visit (
    workspace_id int NOT NULL REFERENCES console.workspace,
    token_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, token_hash)
);

CREATE TABLE console.session (
    workspace_id int NOT NULL REFERENCES console.workspace,
    session_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, session_hash)
);
