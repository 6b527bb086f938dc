"""Filters and orders that look at personal data: whoever may not see it may not ask for users by it either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from siyu.flow.columns import declarations
from siyu.flow.context import Context
from siyu.flow.filters import AttributeFilter, FactFilter, FactName, UserFilter

from siyu_graphql.context import Info
from siyu_graphql.personal import Personal

__all__ = ["require_attributes", "require_facts", "require_personal", "shown_filter", "told"]


async def told(info: Info, brand_id: int, user_id: int, text: str) -> str:
    """A text that was written to or of a user, with what it quotes of their personal data as the bearer may see it."""
    from siyu_graphql.user.queries import find_user

    user = await find_user(info, brand_id, str(user_id)) if text else None
    return text if user is None else info.context.personal.told(brand_id, user.user_id, user.known, text)


async def require_personal(
    info: Info, brand_id: int, filter: UserFilter | None = None, *, by: FactName | None = None
) -> None:
    """Raise :class:`siyu.flow.tokens.Forbidden` where a filter or an order asks for values that the token may not see.

    What a segment keeps was allowed to whoever kept it.
    """
    if filter is not None:
        require_attributes(info.context.personal, brand_id, filter)
    names = {test.named for _, test in filter.facts("")} if filter else set()
    if by is not None:
        names.add(by)
    if names:
        declared = await declarations(info.context.ctx, brand_id, names)
        require_facts(info.context.personal, brand_id, declared, filter, by=by)


def require_attributes(personal: Personal, brand_id: int, filter: UserFilter) -> None:
    """As :func:`require_personal`, for what a filter asks of attributes."""
    for place, each in filter.within("filter"):
        for number, test in enumerate(each.attribute or ()):
            if test.eq is not None or test.in_ is not None:
                personal.asked(brand_id, test.name, f"{place}.attribute.{number}")


def require_facts(
    personal: Personal,
    brand_id: int,
    declared: Mapping[FactName, Sequence[str]],
    filter: UserFilter | None = None,
    *,
    by: FactName | None = None,
) -> None:
    """As :func:`require_personal`, for what a filter and an order ask of facts, which are ``declared`` so."""
    named = [(place, test.named) for place, test in filter.facts("filter")] if filter else []
    if by is not None:
        named.append(("orderBy.fact", by))
    for place, name in named:
        for declaration in declared.get(name, ()):
            personal.asked_of_fact(brand_id, declaration, place)


async def shown_filter(info: Info, brand_id: int, whose: str, filter: UserFilter) -> Mapping[str, Any]:
    """A filter that was kept, with values of what is personal as the bearer may see them."""
    tests = {test: await _declared(info, brand_id, test.named) for _, test in filter.facts("")}
    personal = info.context.personal

    def attribute(test: AttributeFilter) -> AttributeFilter:
        values = {
            "eq": personal.named(brand_id, whose, test.name, test.eq),
            "in_": test.in_ and tuple(personal.named(brand_id, whose, test.name, each) for each in test.in_),
        }
        return test.model_copy(update=values)

    def fact(test: FactFilter) -> FactFilter:
        declared = tests[test]

        def shown(value: Any) -> Any:
            if declared is None:  # by no rule that there is: nobody knows what it looked at
                return personal.covered(brand_id, whose, value)
            for each in declared:
                value = personal.fact(brand_id, whose, each, value)
            return value

        values = {name: shown(getattr(test, name)) for name in ("eq", "gte", "gt", "lte", "lt")}
        return test.model_copy(update={**values, "in_": test.in_ and tuple(map(shown, test.in_))})

    def shown(each: UserFilter) -> UserFilter:
        inner = {
            "and_": each.and_ and tuple(map(shown, each.and_)),
            "or_": each.or_ and tuple(map(shown, each.or_)),
            "not_": each.not_ and shown(each.not_),
            "attribute": each.attribute and tuple(map(attribute, each.attribute)),
            "fact": each.fact and tuple(map(fact, each.fact)),
        }
        return each.model_copy(update=inner)

    return shown(filter).data


async def _declared(info: Info, brand_id: int, name: FactName) -> Sequence[str] | None:
    return await info.context.loaders.ask(_declarations, brand_id, name, info.context.ctx)


async def _declarations(brand_id: int, names: Sequence[FactName], ctx: Context) -> Mapping[FactName, Sequence[str]]:
    """Batch: what facts are declared as."""
    return await declarations(ctx, brand_id, names)
