-- Who this is. Evidence (atom, link, login, fact) only grows; everything else here is derived from it by `resolve.py` and
-- could be rebuilt from it. Rows of `atom`, `pointer` and `link` are added without a lock, in ascending order; they are
-- changed only under the workspace's advisory lock.

-- De-duplication: each touchpoint once, by (workspace, source, message id) hashed to event_id. One partition per received
-- day, made ahead by the worker and dropped after eight days; imports are kept for ever (day 1970-01-01).
CREATE TABLE identity.dedup (
    workspace_id int NOT NULL,
    event_id     uuid NOT NULL,
    received_day date NOT NULL,
    link_id      uuid,                             -- NULL: no identifier at all
    event_time   timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    source       text COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, event_id, received_day)
) PARTITION BY RANGE (received_day);
CREATE TABLE identity.dedup_imported PARTITION OF identity.dedup FOR VALUES FROM (MINVALUE) TO ('1970-01-02');

-- Evidence: every identifier ever seen, also those on the block list.
CREATE TABLE identity.atom (
    workspace_id int NOT NULL,
    atom_id      uuid NOT NULL,
    type         text COLLATE "C" NOT NULL,
    value        text NOT NULL,                    -- normalised
    first_seen   timestamptz NOT NULL,             -- event time of the touchpoint that brought it to us
    PRIMARY KEY (workspace_id, atom_id)
);

-- Derived: where an atom belongs. A profile id is the atom id of the profile's strongest identifier, so any old profile id
-- finds its present profile here with one lookup, for ever.
CREATE TABLE identity.pointer (
    workspace_id int NOT NULL,
    atom_id      uuid NOT NULL,
    profile_id   uuid,                             -- NULL: blocked, or a fact spoke of it before any touchpoint did
    type         text COLLATE "C" NOT NULL,
    state        smallint NOT NULL,                -- 0 active, 1 hub of browser evidence, 2 hub, 3 hub of a crowd, 4 blocked
    replay       boolean NOT NULL,                 -- its component holds a refused edge or a fact
    crowded      boolean NOT NULL DEFAULT false,   -- its component is above the size at which shared weak ids are hubs
    PRIMARY KEY (workspace_id, atom_id)
) WITH (fillfactor = 90);
CREATE INDEX pointer_of_profile ON identity.pointer (workspace_id, profile_id, atom_id);

-- Evidence: identifiers that came together, with the first touchpoint that said so, per trust. `home` is derived.
CREATE TABLE identity.link (
    workspace_id  int NOT NULL,
    link_id       uuid NOT NULL,
    atoms         uuid[] NOT NULL,                 -- ascending
    home          uuid,                            -- strongest atom neither blocked nor a hub; NULL: all blocked
    ignored       boolean NOT NULL DEFAULT false,  -- by an operator's fact
    server_time   timestamptz,
    server_event  uuid,
    browser_time  timestamptz,                     -- not more than 48 h before it was received
    browser_event uuid,
    PRIMARY KEY (workspace_id, link_id),
    CHECK (server_time IS NOT NULL OR browser_time IS NOT NULL)
) WITH (fillfactor = 90);

-- atom -> links of two or more atoms that hold it (a link of one atom has the id that its atom says).
CREATE TABLE identity.membership (
    workspace_id int NOT NULL,
    atom_id      uuid NOT NULL,
    link_id      uuid NOT NULL,
    PRIMARY KEY (workspace_id, atom_id, link_id)
);

-- Evidence for slices: when a link with a weak id was used, and when it logged out. One row per unit of work and link.
CREATE TABLE identity.login (
    workspace_id int NOT NULL,
    link_id      uuid NOT NULL,
    chunk        uuid NOT NULL,                    -- smallest of the touchpoints in it
    logins       timestamptz[] NOT NULL,
    logouts      timestamptz[] NOT NULL,
    PRIMARY KEY (workspace_id, link_id, chunk)
);

-- Derived: a weak id that several people claim belongs, from `since` on, to `owner` (NULL: nobody's).
CREATE TABLE identity.slice (
    workspace_id int NOT NULL,
    atom_id      uuid NOT NULL,
    since        timestamptz NOT NULL,             -- -infinity for the first
    owner        uuid,
    PRIMARY KEY (workspace_id, atom_id, since)
);

-- Evidence: what an operator said. Never deleted, revocable.
CREATE TABLE identity.fact (
    workspace_id int NOT NULL,
    fact_id      uuid NOT NULL,
    op           text NOT NULL CHECK (op IN ('veto', 'pin', 'block', 'ignore')),
    a            uuid NOT NULL,                    -- an atom; of an ignore: the link
    b            uuid,                             -- the other atom of a veto or pin
    author       text NOT NULL,
    reason       text NOT NULL,
    at           timestamptz NOT NULL,
    revoked_at   timestamptz,
    revoked_by   text,
    PRIMARY KEY (workspace_id, fact_id),
    CHECK ((op IN ('veto', 'pin')) = (b IS NOT NULL))
);
CREATE INDEX fact_of_a ON identity.fact (workspace_id, a) WHERE revoked_at IS NULL;
CREATE INDEX fact_of_b ON identity.fact (workspace_id, b) WHERE revoked_at IS NULL AND b IS NOT NULL;

-- Derived: edges that the guards refuse at present.
CREATE TABLE identity.refusal (
    workspace_id int NOT NULL,
    a            uuid NOT NULL,                    -- the stronger of the two
    b            uuid NOT NULL,
    rule         text NOT NULL CHECK (rule IN ('limit', 'size', 'hub', 'veto', 'trust')),
    event_id     uuid NOT NULL,                    -- first touchpoint that asked for it, or the fact of a pin
    event_time   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, a, b)
);
CREATE INDEX refusal_of_b ON identity.refusal (workspace_id, b);

-- What changed, in the order in which it did. `moved`: atoms of profile `before` belong to `after` since (either may be
-- NULL: blocked). `refused`: the edge before - after was refused by `rule`. `hub`: the one atom became or ceased to be one.
CREATE TABLE identity.journal (
    workspace_id int NOT NULL,
    entry        bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('moved', 'refused', 'hub')),
    cause        text NOT NULL CHECK (cause IN ('touchpoint', 'fact', 'policy')),
    cause_id     uuid,                             -- the touchpoint's or fact's
    before       uuid,
    after        uuid,
    atoms        uuid[] NOT NULL DEFAULT '{}',
    rule         text,
    PRIMARY KEY (workspace_id, entry)
);
CREATE INDEX journal_of_before ON identity.journal (workspace_id, before, entry);
CREATE INDEX journal_of_after ON identity.journal (workspace_id, after, entry);

-- Versions of the rules, as `policy.Policy` in JSON. None: the default.
CREATE TABLE identity.policy (
    workspace_id int NOT NULL,
    version      int NOT NULL,
    body         jsonb NOT NULL,
    author       text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, version)
);

-- Counts up when a weak id gets a second claimant: what a process remembers of links is older than that, then.
CREATE TABLE identity.epoch (
    workspace_id int PRIMARY KEY,
    epoch        bigint NOT NULL
);

-- Weak ids whose slices are cut once more when every transaction that ran beside theirs has ended: one of those may have
-- added a login that the cut could not see.
CREATE TABLE identity.recut (
    workspace_id int NOT NULL,
    atom_id      uuid NOT NULL,
    seen_by      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (workspace_id, atom_id, seen_by)
);
