-- What we know of people. State is kept per link (the set of identifiers that came together in a touchpoint), never per
-- person: a profile is the fold over its links, so that a merge or split moves pointers and rewrites nothing here but
-- the search document.

-- The event history: every touchpoint once, one partition per month of event time, never updated. Partitions are made
-- by profile/partitions.py, ahead and on demand. No unique key: one would have to contain the month; identity's
-- de-duplication stands before it.
CREATE TABLE profile.event (
    workspace_id   int NOT NULL,
    link_id        uuid,                           -- NULL: of nobody (no usable identifier)
    event_time     timestamptz NOT NULL,
    event_id       uuid NOT NULL,
    received_at    timestamptz NOT NULL,
    folded_at      timestamptz NOT NULL,
    source         text COLLATE "C" NOT NULL,
    type           text COLLATE "C" NOT NULL,
    name           text NOT NULL,
    canonical_name text COLLATE "C" NOT NULL,
    touchpoint     text NOT NULL                   -- the `Accepted` record, its bytes unchanged
) PARTITION BY RANGE (event_time);
CREATE INDEX event_of_link ON profile.event (workspace_id, link_id, event_time, event_id);
CREATE INDEX event_newest ON profile.event (workspace_id, received_at, event_id);

CREATE TABLE profile.event_before_2000 PARTITION OF profile.event FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00+00');

-- Traits, sets, consent and account that the touchpoints of one link set, with time, event and source of each value and
-- the values that lost (fold.State as JSON). Written only when one of them was said again or anew.
CREATE TABLE profile.link_state (
    workspace_id int NOT NULL,
    link_id      uuid NOT NULL,
    slice        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',  -- owner atom of the slice; zeros: none
    state        text NOT NULL,
    PRIMARY KEY (workspace_id, link_id, slice)
) WITH (fillfactor = 70);
CREATE INDEX link_state_slice ON profile.link_state (workspace_id, slice)
    WHERE slice <> '00000000-0000-0000-0000-000000000000';

-- Distinct touchpoints of one link by canonical name. Narrow and without secondary indexes: every touchpoint updates one
-- row in place (HOT).
CREATE TABLE profile.counter (
    workspace_id   int NOT NULL,
    link_id        uuid NOT NULL,
    slice          uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    canonical_name text COLLATE "C" NOT NULL,
    touchpoints    bigint NOT NULL,
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, link_id, slice, canonical_name)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.1);

-- The search document of a person: what a condition or a search reads. `traits` and `consent` are written only when a
-- value changed (version counts up), `state` whenever one was said again. Derived: can be rebuilt from link_state.
CREATE TABLE profile.profile (
    workspace_id int NOT NULL,
    profile_id   uuid NOT NULL,
    version      bigint NOT NULL,                  -- 0: being made by a transaction under way
    traits       jsonb NOT NULL DEFAULT '{}',      -- {name: value}
    consent      jsonb NOT NULL DEFAULT '{}',      -- {purpose: bool}
    account      text,
    state        text NOT NULL DEFAULT '{}',       -- fold.State as JSON: the join over the person's links
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, profile_id)
) WITH (fillfactor = 70);

-- Companies and households: what `group` calls said of them (fold.State as JSON, traits only).
CREATE TABLE profile.account (
    workspace_id int NOT NULL,
    account_id   text COLLATE "C" NOT NULL,
    version      bigint NOT NULL,
    traits       jsonb NOT NULL DEFAULT '{}',
    state        text NOT NULL DEFAULT '{}',
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, account_id)
) WITH (fillfactor = 70);
