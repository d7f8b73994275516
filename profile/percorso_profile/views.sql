-- What other contexts may read of schema `profile`.

CREATE OR REPLACE VIEW profile.people AS
    SELECT workspace_id, profile_id, version, traits, consent, account
    FROM profile.profile WHERE version > 0;

CREATE OR REPLACE VIEW profile.events AS
    SELECT workspace_id, link_id, event_time, event_id, received_at, folded_at, source, type, name, canonical_name,
           touchpoint::json AS touchpoint
    FROM profile.event;

CREATE OR REPLACE VIEW profile.accounts AS
    SELECT workspace_id, account_id, version, traits
    FROM profile.account WHERE version > 0;
