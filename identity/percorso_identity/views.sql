-- What other contexts may read of schema `identity`.

-- Where an atom belongs. The profile of a link's touchpoints is the pointer of its home.
CREATE OR REPLACE VIEW identity.pointers AS
    SELECT workspace_id, atom_id, profile_id FROM identity.pointer WHERE profile_id IS NOT NULL;

CREATE OR REPLACE VIEW identity.atoms AS
    SELECT a.workspace_id, a.atom_id, a.type, a.value,
           CASE WHEN p.state = 4 THEN 'blocked' WHEN p.state >= 2 THEN 'hub' ELSE 'active' END AS state,
           a.first_seen
    FROM identity.atom a JOIN identity.pointer p USING (workspace_id, atom_id);

CREATE OR REPLACE VIEW identity.links AS
    SELECT workspace_id, link_id, atoms, home FROM identity.link;

CREATE OR REPLACE VIEW identity.memberships AS
    SELECT workspace_id, atom_id, link_id FROM identity.membership;

-- A weak id that several people claim: a touchpoint of a link with this home belongs, at event time t with
-- since <= t < until, to the profile of `owner` (NULL: to nobody). No row: to the profile of its home, as ever.
CREATE OR REPLACE VIEW identity.slices AS
    SELECT workspace_id, atom_id, since,
           coalesce(lead(since) OVER (PARTITION BY workspace_id, atom_id ORDER BY since), 'infinity') AS until, owner
    FROM identity.slice;

CREATE OR REPLACE VIEW identity.touchpoints AS
    SELECT workspace_id, event_id, link_id, event_time, source, received_at FROM identity.dedup;

-- Edges that a guard refuses at present; `a` is the stronger identifier.
CREATE OR REPLACE VIEW identity.refusals AS
    SELECT workspace_id, a, b, rule, event_id, event_time FROM identity.refusal;
