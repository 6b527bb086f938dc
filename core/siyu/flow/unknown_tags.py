"""The tags that a brand's rules and playbooks ask for, and nothing gives that it has on."""

from __future__ import annotations

from collections.abc import Sequence

from siyu.contract import unknown_tags as contract
from siyu.contract.unknown_tags import UnknownTag
from siyu.engine.cohorts import Cohort
from siyu.engine.rulebook import Name, Rulebook
from siyu.flow.context import Context
from siyu.flow.programs import by_name
from siyu.flow.rulebooks import bound_now

__all__ = ["unknown_tags", "unknown_tags_of"]


async def unknown_tags(ctx: Context, brand_id: int) -> list[UnknownTag]:
    """Under the rules as they are set now."""
    async with ctx.db.view() as connection:
        bound = (await bound_now(ctx, connection, brand_id)).bound
    return unknown_tags_of(ctx, bound.cohorts, bound.rulebooks)


def unknown_tags_of(ctx: Context, cohorts: Sequence[Cohort], rulebooks: Sequence[Rulebook]) -> list[UnknownTag]:
    """Under the rulebooks of cohorts."""
    given = {tag for each in rulebooks for tag in (*(rule.tag.key for rule in each.tags), *each.standing.tags)}
    given |= {f"{plugin}.*" for each in rulebooks for plugin in each.unsure}
    asked: dict[Name, set[str]] = {}
    for each in rulebooks:
        for name, tags in each.asked.items():
            asked.setdefault(name, set()).update(tags)
    for made in by_name(ctx, cohorts).values():
        asked[made.plugin, made.key] = contract.tags_of_program(made)
    return contract.unknown_tags(asked, given, ctx.plugins.given)
