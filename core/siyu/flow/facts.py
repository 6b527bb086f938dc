"""The facts that the rules of a brand name, for users, now or as of a moment. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from siyu.contract.conditions import Kind
from siyu.contract.facts import Fact
from siyu.engine.cohorts import Cohort
from siyu.engine.explain import worded
from siyu.engine.facts import compute
from siyu.engine.words import declared
from siyu.flow.context import Context, aware
from siyu.flow.rulebooks import FactKey, bound_now, named_facts
from siyu.store.lake import Lake
from siyu.store.models import Brand

__all__ = ["UserFact", "facts_of_users"]


@dataclass(frozen=True)
class UserFact:
    """A fact of a user under the name that a rule of a plugin gives it. ``value`` is JSON data, None if missing."""

    plugin: str
    rule: str
    name: str
    fact: str
    words: str
    kind: Kind
    value: str | float | bool | None
    text: str


async def facts_of_users(
    ctx: Context,
    brand: Brand,
    users: Sequence[int],
    at: datetime | None = None,
    *,
    plugin: str | None = None,
    names: Collection[str] | None = None,
) -> dict[int, list[UserFact]]:
    """The facts of users by the names that the rules of the plugins that are on give them; of one ``plugin`` or some
    ``names``, if given. Users of whom nothing was known at that moment are left out.

    They are of the rule as a whole: what only some of its tags look at is found by explaining them.
    """
    if plugin is not None:
        ctx.plugins.get(plugin)
    aware(at, "at")
    catalog = ctx.plugins.catalog
    async with ctx.db.view() as connection:
        here = await bound_now(ctx, connection, brand.id)
        history = await Lake(ctx.home, brand.id, catalog).of_users(connection, users)
    wanted: list[tuple[Cohort, dict[FactKey, Fact]]] = []
    for cohort, rulebook in zip(here.bound.cohorts, here.bound.rulebooks, strict=True):
        named = {
            key: fact
            for key, fact in named_facts(cohort, rulebook).items()
            if plugin in (None, key[0]) and (names is None or key[2] in names)
        }
        wanted.append((cohort, named))
    once = {fact.name: fact for _, named in wanted for fact in named.values()}
    values = await asyncio.to_thread(compute, list(once.values()), catalog, history, at or here.at, here.days)
    return {
        row["user_id"]: [_user_fact(key, fact, row[fact.name]) for key, fact in named.items()]
        for cohort, named in wanted
        for row in cohort.of(values).iter_rows(named=True)
    }


def _user_fact(key: FactKey, fact: Fact, value: Any) -> UserFact:
    plain = value.isoformat() if isinstance(value, date) else value
    return UserFact(*key, fact.name, declared(fact), fact.kind, plain, str(worded(plain)))
