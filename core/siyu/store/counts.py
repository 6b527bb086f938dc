"""How many users a brand has, without counting them.

Each statement that adds users adds a row to ``user_count``, so that writers do not wait for each other as they would
for one number; the rows of a brand are put together now and then.
"""

from __future__ import annotations

from siyu.store.db import Connection

__all__ = ["IN_STAGE", "USERS", "WITH_TAG", "fold"]

USERS = (
    "SELECT COALESCE(sum(users), 0)::bigint - (SELECT count(*) FROM merged_user WHERE brand_id = $1)"
    " FROM user_count WHERE brand_id = $1"
)
"""All of brand ``$1`` who do not count as others."""
WITH_TAG = "SELECT COALESCE(max(users), 0) FROM tag WHERE brand_id = $1 AND key = $2"
"""Those who have tag ``$2``, as every decision keeps it."""
IN_STAGE = "SELECT COALESCE(max(users), 0) FROM stage WHERE brand_id = $1 AND track = $2 AND key = $3"
"""Those who stand in stage ``$3`` of track ``$2``."""
MANY = 100

_FOLD = """
WITH gone AS (
    DELETE FROM user_count WHERE brand_id IN (SELECT brand_id FROM user_count GROUP BY brand_id HAVING count(*) > $1)
    RETURNING brand_id, users
)
INSERT INTO user_count (brand_id, users) SELECT brand_id, sum(users) FROM gone GROUP BY brand_id
"""


async def fold(connection: Connection) -> None:
    """Put the rows of each brand that has many together."""
    await connection.execute(_FOLD, MANY)
