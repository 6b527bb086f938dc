"""Strawberry as its documentation shows it: models, a type for each, a DataLoader for each relation."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import strawberry
import uvicorn
from siyu.store import models
from siyu.store.db import Database
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON

BRAND = 1


@strawberry.type
class Identity:
    kind: str
    value: str


@strawberry.type
class UserTag:
    key: str
    title: str
    since: datetime


@strawberry.type
class User:
    id: strawberry.ID
    attributes: JSON
    last_seen: datetime

    @strawberry.field
    async def identities(self, info: strawberry.Info) -> list[Identity]:
        rows = await info.context["identities"].load(int(self.id))
        return [Identity(kind=row.kind, value=row.value) for row in rows]

    @strawberry.field
    async def tags(self, info: strawberry.Info) -> list[UserTag]:
        rows = await info.context["assignments"].load(int(self.id))
        tags = await info.context["tags"].load_many([row.tag_id for row in rows])
        found = [UserTag(key=t.key, title=t.title, since=r.since) for t, r in zip(tags, rows, strict=True)]
        return sorted(found, key=lambda tag: tag.key)


@strawberry.type
class Users:
    nodes: list[User]


@strawberry.type
class Brand:
    @strawberry.field
    async def users(self, first: int) -> Users:
        rows = await models.User.filter(brand_id=BRAND).order_by("id").limit(first)
        return Users(nodes=[User(id=str(r.id), attributes=r.attributes, last_seen=r.last_seen) for r in rows])


@strawberry.type
class Query:
    @strawberry.field
    def brand(self, slug: str) -> Brand:
        return Brand()


async def _identities(users: list[int]) -> list[list[models.Identity]]:
    found = defaultdict(list)
    for row in await models.Identity.filter(brand_id=BRAND, user_id__in=users).order_by("kind"):
        found[row.user_id].append(row)
    return [found[user] for user in users]


async def _assignments(users: list[int]) -> list[list[models.TagAssignment]]:
    found = defaultdict(list)
    for row in await models.TagAssignment.filter(brand_id=BRAND, user_id__in=users):
        found[row.user_id].append(row)
    return [found[user] for user in users]


async def _tags(ids: list[int]) -> list[models.Tag]:
    found = {row.id: row for row in await models.Tag.filter(id__in=ids)}
    return [found[id] for id in ids]


class View(GraphQL[Any, None]):
    async def get_context(self, *_: Any, **__: Any) -> Any:
        return {
            "identities": DataLoader(load_fn=_identities),
            "assignments": DataLoader(load_fn=_assignments),
            "tags": DataLoader(load_fn=_tags),
        }


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    db = await Database.open(os.environ["DATABASE_URL"])
    yield
    await db.close()


app = Starlette(routes=[Route("/graphql", View(strawberry.Schema(Query)))], lifespan=_lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
