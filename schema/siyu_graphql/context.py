"""What every resolver is given, and the one door to a brand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import strawberry
from siyu import NotFound
from siyu.flow.context import Context
from siyu.flow.tokens import Access, still
from siyu.store import models
from siyu.telemetry import logs

from siyu_graphql.errors import log
from siyu_graphql.loading import Loaders

__all__ = ["Caller", "Info", "Job", "OfBrand", "OfUser", "Queue", "RequestContext", "visible_brand", "visible_brands"]

Job: TypeAlias = Literal["decide", "dispatch", "files", "refresh_brand", "sweep"]


class Queue(Protocol):
    """Where background work is asked for: :class:`siyu.jobs.Queue`, or what a test puts in its place."""

    async def push(self, job: Job, brand_id: int) -> None:
        """Ask for a job."""

    async def ping(self) -> None:
        """Raise where the queue does not answer."""

    async def waiting(self) -> Mapping[str, int]:
        """How many jobs each lane has."""


class OfBrand(Protocol):
    """Every object of the schema that lies below a brand: its resolvers go on in that brand only."""

    @property
    def brand_id(self) -> int:
        """The brand."""


class OfUser(OfBrand, Protocol):
    """A user, as the resolvers of what belongs to one know it."""

    @property
    def user_id(self) -> int:
        """The user's number in the brand."""


class Caller(Protocol):
    """Who sends operations: a request of one, or a WebSocket of many."""

    async def request(self) -> RequestContext:
        """What the next operation is given."""


@dataclass
class RequestContext:
    """One request: who asks, and what has been loaded for it."""

    ctx: Context
    queue: Queue
    access: Access
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @cached_property
    def loaders(self) -> Loaders:
        """Batched loading, each row once a request."""
        return Loaders(self.ctx.db, self.access)

    async def request(self) -> RequestContext:
        """Itself: it is one operation's."""
        return self

    async def recheck(self) -> None:
        """Look at the token again; :class:`siyu.flow.tokens.Unauthenticated` where it has ended."""
        self.access = await still(self.access)

    def forget(self) -> None:
        """Load anew: what was loaded may have changed since."""
        vars(self).pop("loaders", None)

    async def push(self, job: Job, brand_id: int) -> None:
        """Ask for a job once its cause is in the database; where the queue is away, the sweep finds the work."""
        try:
            await self.queue.push(job, brand_id)
        except Exception:
            log.warning("request %s: could not queue %s of brand %s", self.request_id, job, brand_id, exc_info=True)


Info: TypeAlias = strawberry.Info[RequestContext, None]


async def visible_brand(info: Info, slug: str, *, field: str = "brand") -> models.Brand:
    """The brand, or :class:`siyu.NotFound`, the same whether there is none or the token may not see it."""
    brand = await models.Brand.get_or_none(slug=slug) if slug.isprintable() else None
    if brand is None or not info.context.access.sees(brand.id):
        raise NotFound(f"no brand {slug!r}", field=field, remedy="`brands` lists those that the token may see")
    logs.bind(brand=brand.slug)
    return brand


async def visible_brands(info: Info) -> list[models.Brand]:
    """All brands that the token may see."""
    only = info.context.access.brand_id
    return await (models.Brand.all() if only is None else models.Brand.filter(id=only)).order_by("slug")
