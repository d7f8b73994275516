-- Journeys: published versions, runs, what they wait for, the ledger of sends, the trace of decisions, the mailbox.

-- One row per published version of a journey. A run stays with the version it entered with.
CREATE TABLE orchestrator.journey (
    workspace_id int NOT NULL,
    name text NOT NULL,
    version int NOT NULL,
    text text NOT NULL,                          -- the YAML as published
    checksum text NOT NULL,                      -- of text and templates: an unchanged file makes no new version
    templates jsonb NOT NULL DEFAULT '{}',       -- template name -> what templates.py compiled at publish
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'replaced')),
    published_at timestamptz NOT NULL,           -- only touchpoints from here on enter
    paused_at timestamptz,
    revision bigint NOT NULL,                    -- of the workspace: goes up with every change of any journey or policy
    PRIMARY KEY (workspace_id, name, version)
);
CREATE UNIQUE INDEX journey_current ON orchestrator.journey (workspace_id, name) WHERE state <> 'replaced';

-- The contents of _policies.yaml, shared by all journeys; the newest row is in force for every run.
CREATE TABLE orchestrator.policy_file (
    workspace_id int NOT NULL,
    version int NOT NULL,
    text text NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, version)
);

-- One row per workspace: workers see by one number that something was published, paused or resumed.
CREATE TABLE orchestrator.revision (
    workspace_id int NOT NULL PRIMARY KEY,
    revision bigint NOT NULL
);

-- One row per person whom a journey may concern: its lock makes one writer per person. Nothing else is kept here.
CREATE TABLE orchestrator.person (
    workspace_id int NOT NULL,
    person uuid NOT NULL,
    PRIMARY KEY (workspace_id, person)
) WITH (fillfactor = 70);

CREATE TABLE orchestrator.run (
    workspace_id int NOT NULL,
    run_id uuid NOT NULL,                        -- hash of (journey, entry touchpoint): a replay makes no second run
    journey text NOT NULL,
    version int NOT NULL,
    person uuid NOT NULL,                        -- present profile
    atom uuid NOT NULL,                          -- home atom of the entry touchpoint: the run follows its profile
    key text NOT NULL,                           -- '' where the journey has none
    state text NOT NULL CHECK (state IN ('active', 'suspended', 'ended')),
    ended_reason text,                           -- finished | exit | restarted | merged | removed ...
    ended_as text,                               -- `as` of the exit
    entered_at timestamptz NOT NULL,             -- event time of the entry touchpoint
    ended_at timestamptz,
    entry_event uuid,
    step text,                                   -- where it stands
    due_at timestamptz,                          -- until when, if it waits for an instant
    goal_until timestamptz,                      -- conversion is measured until then (half-open); null: no goal, or reached
    goal_at timestamptz,
    goal_value double precision,
    body jsonb NOT NULL,                         -- the whole state of the run, as interpret.py wrote it
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, run_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX run_active ON orchestrator.run (workspace_id, journey, person, key) WHERE state = 'active';
CREATE INDEX run_person ON orchestrator.run (workspace_id, person, journey, key, entered_at);
CREATE INDEX run_atom ON orchestrator.run (workspace_id, atom, journey);

-- At most one per run: the instant at which it goes on by itself.
CREATE TABLE orchestrator.timer (
    workspace_id int NOT NULL,
    run_id uuid NOT NULL,
    step text NOT NULL,
    generation int NOT NULL,                     -- a wake-up of an older generation is a no-op
    clock text NOT NULL CHECK (clock IN ('stream', 'real')),
    due_at timestamptz NOT NULL,                 -- the instant as which it acts
    wake_at timestamptz NOT NULL,                -- due_at + lateness for the stream clock, due_at for the real one
    PRIMARY KEY (workspace_id, run_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX timer_wake ON orchestrator.timer (workspace_id, clock, wake_at);

-- What a run listens to: exits and goal as long as it lasts, the events of the step it is parked in.
CREATE TABLE orchestrator.subscription (
    workspace_id int NOT NULL,
    atom uuid NOT NULL,                          -- of the run: what it listens to needs no change when people merge
    name text NOT NULL,                          -- canonical event name
    run_id uuid NOT NULL,
    PRIMARY KEY (workspace_id, atom, name, run_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX subscription_run ON orchestrator.subscription (workspace_id, run_id);

-- What holds messages back (an open ticket): opened and closed by touchpoints, by its key.
CREATE TABLE orchestrator.hold (
    workspace_id int NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    person uuid NOT NULL,
    atom uuid NOT NULL,
    account text,
    covers_account bool NOT NULL,
    opened_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,             -- 'infinity' where the policy gives no max
    PRIMARY KEY (workspace_id, name, key)
);
CREATE INDEX hold_atom ON orchestrator.hold (workspace_id, atom);
CREATE INDEX hold_account ON orchestrator.hold (workspace_id, account) WHERE covers_account;

-- The ledger. The orchestrator plans and judges; delivery claims, sends and settles; every change checks the epoch.
CREATE TABLE orchestrator.send (
    workspace_id int NOT NULL,
    send_id uuid NOT NULL,                       -- hash of (run, step, visit, channel): a replay plans nothing twice
    journey text NOT NULL,
    version int NOT NULL,
    run_id uuid NOT NULL,
    step text NOT NULL,
    visit int NOT NULL,                          -- a step visited twice is not a duplicate
    person uuid NOT NULL,
    atom uuid NOT NULL,                          -- home atom of the run's entry touchpoint; the present person is identity.pointers of it
    channel text NOT NULL CHECK (channel IN ('email', 'webhook', 'onsite', 'task')),
    address text NOT NULL DEFAULT '',            -- e-mail address, webhook destination, on-site slot, team
    template text,
    policy text NOT NULL,
    cap_group text,                              -- of the policy, '' or null where it has no cap
    payload jsonb NOT NULL DEFAULT '{}',         -- {"with": {}, "run": {}, "event": {} or null}: what rendering needs
    due_at timestamptz NOT NULL,                 -- the instant as which the step acts; moves on when a hold is released
    wanted_at timestamptz NOT NULL,              -- when it was due first: stale counts from here
    not_before timestamptz,                      -- of a held row: judge again then; of a planned one: not claimed before (retry)
    gate text,                                   -- of a held or skipped row: the gate that stopped it
    state text NOT NULL CHECK (state IN
        ('planned', 'held', 'claimed', 'sending', 'sent', 'failed', 'skipped', 'unknown')),
    reason text,
    epoch int NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempts int NOT NULL DEFAULT 0,
    idempotency_key text NOT NULL,
    message_id text,
    response text,
    resend_of uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    sent_at timestamptz,
    advanced bool NOT NULL DEFAULT false,        -- the run has taken note of this state (settled, or returned as held)
    PRIMARY KEY (workspace_id, send_id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX send_once ON orchestrator.send (workspace_id, run_id, step, visit, channel, address)
    WHERE state <> 'failed' AND resend_of IS NULL;
CREATE INDEX send_claim ON orchestrator.send (workspace_id, channel, due_at) WHERE state = 'planned';
CREATE INDEX send_open ON orchestrator.send (workspace_id, lease_until) WHERE state IN ('claimed', 'sending');
CREATE INDEX send_held ON orchestrator.send (workspace_id, not_before) WHERE state = 'held';
CREATE INDEX send_news ON orchestrator.send (workspace_id, updated_at)
    WHERE NOT advanced AND state IN ('held', 'sent', 'failed', 'skipped', 'unknown');
CREATE INDEX send_person ON orchestrator.send (workspace_id, person, due_at);
CREATE INDEX send_atom ON orchestrator.send (workspace_id, atom, cap_group, due_at);

-- Append-only: everything a run did, was refused or was told, gate by gate.
CREATE TABLE orchestrator.decision (
    workspace_id int NOT NULL,
    decision_id bigint GENERATED ALWAYS AS IDENTITY,
    journey text NOT NULL,
    version int NOT NULL,
    run_id uuid,                                 -- null: no run came of it
    person uuid NOT NULL,
    at timestamptz NOT NULL,                     -- the instant as which it acts
    step text,
    visit int NOT NULL DEFAULT 0,
    kind text NOT NULL,                          -- model.py: DecisionKind
    reason text,
    detail jsonb NOT NULL DEFAULT '{}',
    event_id uuid,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, decision_id)
);
CREATE INDEX decision_run ON orchestrator.decision (workspace_id, run_id, decision_id);
CREATE INDEX decision_person ON orchestrator.decision (workspace_id, person, journey, decision_id);

-- Arms of splits by (journey, step, atom) at first exposure, so that a login does not change them.
CREATE TABLE orchestrator.exposure (
    workspace_id int NOT NULL,
    journey text NOT NULL,
    step text NOT NULL,
    atom uuid NOT NULL,
    arm text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, journey, step, atom)
);

-- Counted in the transaction that decided: entered, ended by reason, and what could not enter.
CREATE TABLE orchestrator.tally (
    workspace_id int NOT NULL,
    journey text NOT NULL,
    version int NOT NULL,
    name text NOT NULL,                          -- entered, ended:finished, ended:exit ..., refused:key_missing, error:condition ...
    n bigint NOT NULL,
    PRIMARY KEY (workspace_id, journey, version, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- The built-in mailbox: where mails go while no SMTP server is set.
CREATE TABLE orchestrator.mail (
    workspace_id int NOT NULL,
    mail_id uuid NOT NULL,
    "to" text NOT NULL,
    subject text NOT NULL,
    text text NOT NULL,
    html text NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL,
    send_id uuid,
    PRIMARY KEY (workspace_id, mail_id)
);
CREATE INDEX mail_at ON orchestrator.mail (workspace_id, at DESC);
CREATE INDEX mail_to ON orchestrator.mail (workspace_id, "to", at DESC);
CREATE UNIQUE INDEX mail_send ON orchestrator.mail (workspace_id, send_id) WHERE send_id IS NOT NULL;
