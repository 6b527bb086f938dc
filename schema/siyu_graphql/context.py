"""What every resolver is given, and the one door to a brand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import strawberry
from siyu import InputError, NotFound, SiyuError
from siyu.flow import audit
from siyu.flow.context import Context
from siyu.flow.tokens import Access, Right, Unauthenticated, still
from siyu.runtime import ApiSettings
from siyu.store import models
from siyu.telemetry import logs

from siyu_graphql.errors import log
from siyu_graphql.loading import Loaders
from siyu_graphql.meter import Meter, Slots
from siyu_graphql.personal import Personal

__all__ = [
    "NO_BRAND",
    "RECHECK_SECONDS",
    "Bill",
    "Caller",
    "Info",
    "Job",
    "OfBrand",
    "OfUser",
    "Overdue",
    "Queue",
    "RequestContext",
    "TooLarge",
    "require_all_brands",
    "visible_brand",
    "visible_brands",
]

Job: TypeAlias = Literal["campaign", "decide", "dispatch", "files", "playbooks", "refresh_brand", "sweep"]
Bill: TypeAlias = dict[str, int | None]

NO_BRAND = 0
"""The brand of what belongs to none."""
RECHECK_SECONDS = 10.0
"""How often the token of whoever follows something is looked at again."""


class TooLarge(InputError):
    """The request asks for more than one request may."""

    code = "TOO_LARGE"


class Overdue(SiyuError):
    """The operation took too long, and was ended."""

    code = "TIMEOUT"


class Queue(Protocol):
    """Where background work is asked for: :class:`siyu.jobs.Queue`, or what a test puts in its place."""

    async def push(self, job: Job, brand_id: int) -> None:
        """Ask for a job."""

    async def ping(self) -> None:
        """Raise where the queue does not answer."""

    async def waiting(self) -> Mapping[str, int]:
        """How many jobs each lane has."""

    async def add(self, key: str, amount: int, seconds: int) -> int:
        """Add to a number that is forgotten after so many seconds, and return it."""


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
    """One request: who asks, what has been loaded for it, what it costs, and how long it may take."""

    ctx: Context
    queue: Queue
    access: Access
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    settings: ApiSettings = field(default_factory=ApiSettings)
    meter: Meter | None = None
    slots: Slots = field(default_factory=Slots)
    operation: str = ""
    bill: Bill = field(default_factory=dict)
    brands: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._deadline: float | None = asyncio.get_running_loop().time() + self.settings.operation_seconds
        self._clock: asyncio.Timeout | None = None
        self._ended: SiyuError | None = None

    @cached_property
    def loaders(self) -> Loaders:
        """Batched loading, each row once a request."""
        return Loaders(self.ctx.db, self.access, self._deadline)

    @cached_property
    def personal(self) -> Personal:
        """What may be seen of personal data, and whose was."""
        kinds = self.ctx.plugins.catalog.attributes
        return Personal(self.access, frozenset(name for name, kind in kinds.items() if kind.personal))

    async def request(self) -> RequestContext:
        """Itself: it is one operation's."""
        return self

    def another(self) -> RequestContext:
        """The context of a further operation of the same request, which goes on the same bill."""
        return RequestContext(
            self.ctx,
            self.queue,
            self.access,
            self.request_id,
            self.settings,
            self.meter,
            self.slots,
            bill=dict(self.bill),
        )

    async def recheck(self) -> None:
        """Look at the token again; :class:`siyu.flow.tokens.Unauthenticated` where it has ended."""
        self.access = await still(self.access)

    async def watch(self) -> None:
        """Look at the token again and again until it has ended, and end what is waited for then."""
        try:
            while True:
                await asyncio.sleep(RECHECK_SECONDS)
                await self.recheck()
        except Unauthenticated as error:
            self._ended = error
            if self._clock is not None:
                self._clock.reschedule(asyncio.get_running_loop().time())

    def forget(self) -> None:
        """Load anew: what was loaded may have changed since."""
        vars(self).pop("loaders", None)

    @asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """The time that the operation has left (:class:`Overdue` when it is over), and its token
        (:class:`siyu.flow.tokens.Unauthenticated`)."""
        if self._ended is not None:
            raise self._ended
        try:
            async with asyncio.timeout_at(self._deadline) as self._clock:
                yield
        except TimeoutError:
            raise self._ended or Overdue(
                f"the operation took longer than {self.settings.operation_seconds:g} seconds and was ended",
                remedy="ask for less at once; what a mutation had begun is done whole or not at all",
            ) from None
        finally:
            self._clock = None

    def begins(self, operation: str | None, *, follows: bool) -> None:
        """Note what is executed; with ``follows`` for as long as the client listens."""
        self.operation = operation or ""
        if follows:
            self._deadline = None
            if self._clock is not None:
                self._clock.reschedule(None)

    async def pay(self, cost: int) -> None:
        """Refuse what is too dear for a request (:class:`TooLarge`) or a minute, before it runs."""
        limit, before = self.settings.most_cost, self.bill.get("requested") or 0
        self.bill.update(requested=before + cost, limit=limit)
        if before + cost > limit:
            raise TooLarge(
                f"the request costs {before + cost}; {limit} is the limit",
                field="first",
                remedy="ask for shorter pages and less within lists, or in several requests",
            )
        if self.meter is not None and self.meter.per_minute:
            left = await self.meter.spend(self.access.key, cost)
            self.bill.update(perMinute=self.meter.per_minute, remaining=left)

    def give_back(self, cost: int) -> None:
        """Of what was paid, what is not done."""
        if self.meter is not None and self.bill.get("remaining") is not None:
            self.meter.give_back(self.access.key, cost)

    async def note(self, what: str, brand_id: int, target: str = "", after: Mapping[str, Any] | None = None) -> None:
        """Write down in the audit log what was done."""
        await audit.note(
            brand_id,
            self.access.by,
            what,
            target=target,
            operation=self.operation,
            request_id=self.request_id,
            after=after,
        )

    async def note_personal(self) -> None:
        """Write down of how many users personal data was read, a row for each brand, and count anew."""
        personal: Personal | None = vars(self).pop("personal", None)
        if personal is not None:
            for brand_id, users in personal.seen.items():
                await audit.note(
                    brand_id,
                    self.access.by,
                    audit.PERSONAL_READ,
                    users=users,
                    operation=self.operation,
                    request_id=self.request_id,
                )

    async def push(self, job: Job, brand_id: int) -> None:
        """Ask for a job once its cause is in the database; where the queue is away, the sweep finds the work."""
        try:
            await self.queue.push(job, brand_id)
        except Exception:
            log.warning("request %s: could not queue %s of brand %s", self.request_id, job, brand_id, exc_info=True)


Info: TypeAlias = strawberry.Info[RequestContext, None]


async def visible_brand(info: Info, slug: str, *, field: str = "brand") -> models.Brand:
    """The brand, or :class:`siyu.NotFound`, the same whether there is none or the token may not see it."""
    info.context.access.require(Right.READ)
    brand = await models.Brand.named(slug)
    if brand is None or not info.context.access.sees(brand.id):
        raise NotFound(f"no brand {slug!r}", field=field, remedy="`brands` lists those that the token may see")
    logs.bind(brand=brand.slug)
    info.context.brands[slug] = brand.id
    return brand


def require_all_brands(info: Info) -> None:
    """Raise :class:`siyu.NotFound` unless the token is for all brands: what belongs to none is there for no other."""
    if not info.context.access.sees(NO_BRAND):
        raise NotFound("this token is for one brand", field="brand", remedy="name that brand, or ask under it")


async def visible_brands(info: Info) -> list[models.Brand]:
    """All brands that the token may see."""
    info.context.access.require(Right.READ)
    only = info.context.access.brand_id
    return await (models.Brand.all() if only is None else models.Brand.filter(id=only)).order_by("slug")
