-- What other contexts may read of ingest.

CREATE OR REPLACE VIEW ingest.sources AS
SELECT workspace_id, name, kind, enabled, aliases, created_at FROM ingest.source;

CREATE OR REPLACE VIEW ingest.quarantine_records AS
SELECT workspace_id, id, source, at_stage, reason, detail, received_at, size, readable, body FROM ingest.quarantine;

CREATE OR REPLACE VIEW ingest.quarantine_counts AS
SELECT workspace_id, source, at_stage, reason, refused, not_kept FROM ingest.quarantine_count;
