-- Ingest: who may send us touchpoints, and what we would not believe.

CREATE TABLE ingest.source (
    workspace_id int  NOT NULL,
    name         text NOT NULL,
    kind         text NOT NULL DEFAULT 'browser' CHECK (kind IN ('browser', 'server')),
    write_key    text NOT NULL,
    enabled      bool NOT NULL DEFAULT true,
    limits       jsonb NOT NULL DEFAULT '{}',       -- what differs from limits.DEFAULTS: {"event_bytes": 65536}
    aliases      text[] NOT NULL DEFAULT '{}',      -- its name in foreign protocols: plausible:shop.example
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, name),
    CONSTRAINT source_write_key UNIQUE (write_key)  -- over all workspaces: the key alone says which one is meant
);

CREATE FUNCTION ingest.source_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY percorso_source;
    RETURN NULL;
END $$;
CREATE TRIGGER source_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ingest.source
    FOR EACH STATEMENT EXECUTE FUNCTION ingest.source_changed();

-- What was refused or set aside, with its original bytes. `body` is NULL for what was not kept (the cap was reached).
CREATE TABLE ingest.quarantine (
    workspace_id int   NOT NULL,
    id           uuid  NOT NULL,
    source       text  NOT NULL DEFAULT '',         -- '' = unknown
    at_stage     text  NOT NULL,
    reason       text  NOT NULL,
    detail       text  NOT NULL,
    received_at  timestamptz NOT NULL,
    size         int   NOT NULL,                    -- bytes of the original
    readable     bool  NOT NULL,                    -- false: it cannot be parsed, only admins may look at it
    identifiers  text[] NOT NULL DEFAULT '{}',      -- type:value as found in it, for erasure
    body         bytea NOT NULL,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX quarantine_by_time ON ingest.quarantine (workspace_id, received_at, id);
CREATE INDEX quarantine_by_reason ON ingest.quarantine (workspace_id, reason, received_at);
CREATE INDEX quarantine_by_identifier ON ingest.quarantine USING gin (identifiers);

-- One row per source and reason: everything ever refused, and how much of it is kept above.
CREATE TABLE ingest.quarantine_count (
    workspace_id int    NOT NULL,
    source       text   NOT NULL,
    at_stage     text   NOT NULL,
    reason       text   NOT NULL,
    refused      bigint NOT NULL DEFAULT 0,
    not_kept     bigint NOT NULL DEFAULT 0,         -- beyond the cap: every 1,000th of these is kept all the same
    PRIMARY KEY (workspace_id, source, at_stage, reason)
) WITH (fillfactor = 50);

-- Bytes of originals that are kept. Its row lock orders the writers.
CREATE TABLE ingest.quarantine_size (
    workspace_id int    NOT NULL PRIMARY KEY,
    bytes        bigint NOT NULL DEFAULT 0
);
