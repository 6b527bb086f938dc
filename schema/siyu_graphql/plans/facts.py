"""Users who are found by facts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from siyu.flow.columns import declarations
from siyu.flow.filters import FactName, UserFilter, among
from siyu.flow.selection import Selection, counted, select
from siyu.store.db import Connection

from siyu_graphql.paging import Order, Term
from siyu_graphql.plans.pages import Page
from siyu_graphql.plans.reading import Request
from siyu_graphql.user.personal import require_facts

__all__ = ["ByFacts", "Selected"]


@dataclass(frozen=True)
class Selected:
    """Who passes the tests of a filter, and how the facts in it are declared."""

    selection: Selection
    declared: Mapping[FactName, tuple[str, ...]]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        likely, passed = self.selection.likely, self.selection.passed.values()
        return 1_000 + sum(int(users.estimated_size()) for users in (likely, *passed) if users is not None)


@dataclass(frozen=True)
class ByFacts:
    """The users whom a filter finds that names facts."""

    filter: UserFilter

    async def choose(self, connection: Connection, request: Request, page: Page) -> tuple[Term, datetime | None]:
        """The rows of the page and one more, where there is more, and as of when they were chosen."""
        selection = await self._selected(request)
        order, window = page.listing.order, page.window
        async with _reading(order, connection, request) as by:
            users = await selection.page(
                by, order, page.limit + 1, after=window.after, before=window.before, backward=page.backward
            )
        return among([number for _, number in users]), selection.as_of

    async def count(self, request: Request) -> int:
        """How many there are."""
        await self._selected(request)
        return (await counted(request.ctx, request.brand_id, self.filter)).users

    async def _selected(self, request: Request) -> Selection:
        # As text: filters are equal that ask for 1 and for true.
        key = request.brand_id, self.filter.model_dump_json(exclude_none=True)

        async def make(_: Any) -> Mapping[Any, Selected]:
            names = {test.named for _, test in self.filter.facts("filter")}
            declared = await declarations(request.ctx, request.brand_id, names)
            return {key: Selected(await select(request.ctx, request.brand_id, self.filter), declared)}

        found: Selected = (await request.selections.get([key], make))[key]
        require_facts(request.personal, request.brand_id, found.declared, self.filter)
        return found.selection


def _reading(order: Order, connection: Connection, request: Request) -> AbstractAsyncContextManager[Connection]:
    """The connection at hand, unless moments are to be compared, which come from it as text."""
    return nullcontext(connection) if len(order.columns) == 1 else request.ctx.db.connection()
