-- What other contexts may read of the orchestrator.

CREATE OR REPLACE VIEW orchestrator.journeys AS
SELECT workspace_id, name, version, text, state, published_at, paused_at
FROM orchestrator.journey;

CREATE OR REPLACE VIEW orchestrator.runs AS
SELECT workspace_id, run_id, journey, version, person, atom, key, state, ended_reason, ended_as, entered_at, ended_at,
       entry_event, step, due_at, goal_at, goal_value, created_at, updated_at
FROM orchestrator.run;

CREATE OR REPLACE VIEW orchestrator.sends AS
SELECT workspace_id, send_id, journey, version, run_id, step, visit, person, atom, channel, address, template, policy,
       payload, due_at, wanted_at, not_before, gate, state, reason, attempts, idempotency_key, message_id, response,
       resend_of, created_at, updated_at, sent_at
FROM orchestrator.send;

CREATE OR REPLACE VIEW orchestrator.decisions AS
SELECT workspace_id, decision_id, journey, version, run_id, person, at, step, visit, kind, reason, detail, event_id,
       recorded_at
FROM orchestrator.decision;

CREATE OR REPLACE VIEW orchestrator.mails AS
SELECT workspace_id, mail_id, "to", subject, text, html, headers, at, send_id
FROM orchestrator.mail;

CREATE OR REPLACE VIEW orchestrator.tallies AS
SELECT workspace_id, journey, version, name, n
FROM orchestrator.tally;
