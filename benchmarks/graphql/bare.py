"""The floor: routes of Starlette that send finished JSON from one SQL, without tokens, without GraphQL."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE = """
SELECT json_build_object('data', json_build_object('brand', json_build_object('users', json_build_object('nodes',
    json_agg(json_build_object(
        'id', u.id, 'attributes', u.attributes, 'lastSeen', u.last_seen, 'identities', i.identities, 'tags', t.tags
    ) ORDER BY u.id)))))::text
FROM (SELECT id, attributes, last_seen FROM users WHERE brand_id = 1 ORDER BY id LIMIT $1) u
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object('kind', kind, 'value', value) ORDER BY kind) AS identities
    FROM identity WHERE brand_id = 1 AND user_id = u.id) i
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object('key', g.key, 'title', g.title, 'since', a.since) ORDER BY g.key) AS tags
    FROM tag_assignment a JOIN tag g ON g.id = a.tag_id WHERE a.brand_id = 1 AND a.user_id = u.id) t
"""


async def _nothing(_: object) -> None:
    """What the pool does with a connection that comes back: by default it asks the server to reset it."""


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    settings = {"jit": "off", "random_page_cost": "1.1"}
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=4, max_size=10, reset=_nothing, server_settings=settings
    ) as pool:
        app.state.pool = pool
        yield


async def page(request: Request) -> Response:
    """The page of users."""
    body = await request.json()
    text = await request.app.state.pool.fetchval(PAGE, body["variables"]["first"])
    return Response(text, media_type="application/json")


app = Starlette(routes=[Route("/graphql", page, methods=["POST"])], lifespan=_lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
