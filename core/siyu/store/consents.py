"""What users consent to: kept current from events, in the transaction in which these are taken in."""

from __future__ import annotations

from siyu.contract.events import CONSENT_GIVEN, CONSENT_WITHDRAWN

__all__ = ["KEEP"]

KEEP = f"""
said AS (
    SELECT DISTINCT ON (e.user_id, purpose, channel) e.user_id, COALESCE(e.payload->>'purpose', '') AS purpose,
        COALESCE(e.payload->>'channel', '') AS channel, e.kind = '{CONSENT_GIVEN}' AS given, e.at, e.id
    FROM incoming i JOIN event e ON e.brand_id = $1 AND e.key = i.key
    WHERE e.kind IN ('{CONSENT_GIVEN}', '{CONSENT_WITHDRAWN}')
    ORDER BY e.user_id, purpose, channel, e.at DESC, given
)
INSERT INTO consent AS c (brand_id, user_id, purpose, channel, given, at, event_id)
SELECT $1, * FROM said
ON CONFLICT (brand_id, user_id, purpose, channel) DO UPDATE
SET given = excluded.given, at = excluded.at, event_id = excluded.event_id
-- Of what was said at one moment it is the no.
WHERE excluded.at > c.at OR (excluded.at = c.at AND NOT excluded.given)
"""
"""For a statement that calls new events ``incoming``, once they are in the log. Also for what was known already."""
