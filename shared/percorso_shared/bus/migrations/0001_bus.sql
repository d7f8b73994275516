-- The bus: heads and records of the embedded log, positions of consumer groups, the outbox towards Kafka.
-- None of these tables but bus.accounting belongs to a workspace: a partition carries records of all of them.

-- Which log the positions below count in. One row.
CREATE TABLE bus.layout (
    one         bool PRIMARY KEY DEFAULT true CHECK (one),
    kind        text NOT NULL CHECK (kind IN ('embedded', 'kafka')),
    cluster     text NOT NULL DEFAULT '',       -- Kafka's cluster id
    partitions  int  NOT NULL
);

-- The end of each partition of the embedded log. Its row lock orders the appends: positions are gap-free and in
-- commit order.
CREATE TABLE bus.head (
    topic       text COLLATE "C" NOT NULL,
    partition   int    NOT NULL,
    next        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- One row = one batch (<= 1,000 records, <= 1 MiB before compression) of one partition. Segments are written in turn
-- and emptied by TRUNCATE. `body` is codec.pack() of the values.
CREATE TABLE bus.log (
    segment     smallint NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    partition   int      NOT NULL,
    first       bigint   NOT NULL,
    count       int      NOT NULL,
    size        int      NOT NULL,              -- bytes before compression
    at          bigint   NOT NULL,              -- ms since 1970
    body        bytea    NOT NULL
) PARTITION BY LIST (segment);
ALTER TABLE bus.log ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE bus.log_0 PARTITION OF bus.log FOR VALUES IN (0);
CREATE TABLE bus.log_1 PARTITION OF bus.log FOR VALUES IN (1);
CREATE TABLE bus.log_2 PARTITION OF bus.log FOR VALUES IN (2);
CREATE TABLE bus.log_3 PARTITION OF bus.log FOR VALUES IN (3);
CREATE INDEX log_place ON bus.log (topic, partition, first);

-- Where a consumer group stands in a partition, and what it has written. A row with topic '' is the place of a process
-- whose ticks publish: it reads nothing, it only counts.
CREATE TABLE bus.position (
    grp         text   COLLATE "C" NOT NULL,
    topic       text   COLLATE "C" NOT NULL,
    partition   int    NOT NULL,
    next        bigint NOT NULL DEFAULT 0,      -- position of the first record not yet worked on
    epoch       bigint NOT NULL DEFAULT 0,      -- goes up whenever the partition changes hands: the fence
    owner       text,                           -- bus.member.instance
    out         jsonb  NOT NULL DEFAULT '{}',   -- "topic/partition" -> highest seq given
    seen        jsonb  NOT NULL DEFAULT '{}',   -- producer -> highest seq worked on
    unit        bigint NOT NULL DEFAULT 0,      -- units of work that wrote to the outbox
    sent        bigint NOT NULL DEFAULT 0,      -- all outbox rows up to this unit are on Kafka
    mark        bigint,                         -- progress in received time, ms since 1970
    PRIMARY KEY (grp, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Processes that share the partitions of a group on the embedded bus. Alive = heard of lately, and its session still
-- holds the advisory lock.
CREATE TABLE bus.member (
    grp         text COLLATE "C" NOT NULL,
    instance    text COLLATE "C" NOT NULL,
    lock_key    int  NOT NULL,
    joined_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    heard_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (grp, instance)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Outputs of units of work on their way to Kafka: one row per (unit of work, topic, partition).
CREATE TABLE bus.outbox (
    segment     smallint NOT NULL,
    grp         text   COLLATE "C" NOT NULL,
    topic       text   COLLATE "C" NOT NULL,    -- of the position that produced it
    partition   int    NOT NULL,
    unit        bigint NOT NULL,
    to_topic    text   COLLATE "C" NOT NULL,
    to_partition int   NOT NULL,
    at          bigint NOT NULL,
    body        bytea  NOT NULL,                -- codec.pack() of the values
    keys        bytea                           -- the same of the keys, if there are any
) PARTITION BY LIST (segment);
ALTER TABLE bus.outbox ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE bus.outbox_0 PARTITION OF bus.outbox FOR VALUES IN (0);
CREATE TABLE bus.outbox_1 PARTITION OF bus.outbox FOR VALUES IN (1);
CREATE TABLE bus.outbox_2 PARTITION OF bus.outbox FOR VALUES IN (2);
CREATE INDEX outbox_place ON bus.outbox (grp, topic, partition, unit);

-- Touchpoints received but not yet on the bus (the spool): no progress mark passes them.
CREATE TABLE bus.hold (
    name        text   PRIMARY KEY,
    mark        bigint NOT NULL,                -- received_at of the oldest, ms since 1970
    until       timestamptz NOT NULL
);

CREATE TABLE bus.accounting (
    workspace_id int  NOT NULL,
    source      text  NOT NULL,
    stage       text  NOT NULL,
    hour        timestamptz NOT NULL,
    outcome     text  NOT NULL,
    n           bigint NOT NULL,
    PRIMARY KEY (workspace_id, source, stage, hour, outcome)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
