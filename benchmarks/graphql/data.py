"""A brand of many users, written by SQL: five tags, a stage, two names, three events and two actions each."""

from __future__ import annotations

from datetime import datetime

import asyncpg
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.store.models import Brand

__all__ = ["fill"]

TAGS = 40
AS_OF = datetime.fromisoformat("2026-06-01T12:00:00+08:00")
"""The present of the brand, on which it depends how many days ago something was."""

TABLES = """
INSERT INTO tag (brand_id, key, title, plugin, active, users)
    SELECT $1, 'bench.tag_' || lpad(n::text, 2, '0'), '标签 ' || n, 'bench', true, $2 * 5 / $3
    FROM generate_series(1, $3) n;
INSERT INTO stage (brand_id, track, key, title, plugin, position, active, users)
    SELECT $1, 'lifecycle', key, key, 'lifecycle', n, true, $2 / 5
    FROM unnest('{intro,growth,mature,dormant,lost}'::text[]) WITH ORDINALITY AS s (key, n);
INSERT INTO users (brand_id, id, attributes, first_seen, last_seen)
    SELECT $1, n, jsonb_build_object('skin', CASE WHEN n % 2 = 0 THEN '油性' ELSE '干性' END, 'city', 'c' || n % 300),
        moment - interval '200 days', moment
    FROM generate_series(1, $2) n,
        LATERAL (SELECT timestamptz '2026-06-01 12:00+08' - n % 86400 * interval '17 seconds' AS moment) m;
INSERT INTO identity (brand_id, kind, value, user_id)
    SELECT $1, kind, kind || n, n FROM generate_series(1, $2) n, unnest('{member,openid}'::text[]) kind;
INSERT INTO tag_assignment (brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT $1, n, first + (n * 7 + k * 8) % $3, timestamptz '2026-05-01 00:00+08' + n % 30 * interval '1 day', 1, '[]'
    FROM generate_series(1, $2) n, generate_series(0, 4) k, (SELECT min(id) AS first FROM tag WHERE brand_id = $1) t;
INSERT INTO user_stage (brand_id, user_id, track, stage, since, rulebook_id, why)
    SELECT $1, n, 'lifecycle', ('{intro,growth,mature,dormant,lost}'::text[])[1 + n % 5],
        timestamptz '2026-05-01 00:00+08', 1, '[]'
    FROM generate_series(1, $2) n;
INSERT INTO event (brand_id, key, user_id, kind, at, payload)
    SELECT $1, n || '-' || k, n, ('{order.paid,article.opened,group.message}'::text[])[1 + k],
        timestamptz '2026-05-01 00:00+08' + (n * 7919 % 40000 + k * 1000) * interval '1 minute',
        jsonb_build_object('amount', (n + k) % 500 + 0.5, 'store', 's' || n % 20)
    FROM generate_series(1, $2) n, generate_series(0, 2) k;
INSERT INTO action (brand_id, key, user_id, plugin, playbook, channel, purpose, text, because, status, rulebook_id,
        planned_at, due_at)
    SELECT $1, 'a' || n || '-' || k, n, 'bench', 'bench.hello', 'outbox', 'care', '您好，好久不见',
        'last order 40 days ago', 'sent', 1, timestamptz '2026-05-02 00:00+08' + k * interval '1 day',
        timestamptz '2026-05-02 09:00+08' + k * interval '1 day'
    FROM generate_series(1, $2) n, generate_series(0, 1) k;
"""


async def fill(ctx: Context, users: int) -> Brand:
    """Write the brand."""
    brand = await Brand.create(slug="shop", name="Shop", replayed_to=AS_OF)
    await plugins.enable(ctx, brand, "rfm")
    async with ctx.db.connection() as connection:
        for statement in TABLES.strip().split(";\n"):
            await _execute(connection, statement.rstrip(";"), brand.id, users, TAGS)
        await connection.execute("VACUUM ANALYZE")
    return brand


async def _execute(connection: asyncpg.Connection, statement: str, *values: int) -> None:
    text = statement
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", str(value))
    await connection.execute(text)
