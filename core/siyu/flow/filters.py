"""Filters of users: data that a client sends, a segment keeps, and a statement is made of.

The shape is the one of the API's ``UserFilter``. What is left out does not restrict, what is given must hold together,
and ``AND``, ``OR`` and ``NOT`` put filters together. A value that is not there compares false, as in rules, and ``NOT``
turns that to true.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel

from siyu.contract.errors import InputError
from siyu.store.keyset import Term, all_of, any_of, negated

__all__ = [
    "ALL_OF",
    "AttributeFilter",
    "FactFilter",
    "FactName",
    "MomentRange",
    "StageFilter",
    "UserFilter",
    "among",
    "between",
    "combined",
    "filter_of",
    "limited",
    "relaxed",
    "users_where",
]

MOST_DEPTH = 5
MOST_CONDITIONS = 100
MOST_VALUES = 20
"""Of one list."""


def _kept(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a text with a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text with half a character") from None
    return text


def _scalar(value: Any) -> bool | int | float | str:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("a list or an object")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the number {value}")
    return _kept(value) if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_kept)]
Value = Annotated[bool | int | float | str, PlainValidator(_scalar)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class MomentRange(_Shape):
    """From a moment on, up to a moment, or both."""

    gte: AwareDatetime | None = None
    gt: AwareDatetime | None = None
    lte: AwareDatetime | None = None
    lt: AwareDatetime | None = None


class StageFilter(_Shape):
    """A stage of a track."""

    track: Text
    key: Text


class AttributeFilter(_Shape):
    """What an attribute of the user's profile is."""

    name: Text
    eq: Text | None = None
    in_: tuple[Text, ...] | None = Field(None, alias="in")
    is_missing: bool | None = None


class FactName(_Shape):
    """A fact under the name that a rule gives it; ``rule`` may be left out where one rule of the plugin has it."""

    plugin: Text
    rule: Text | None = None
    name: Text

    def __str__(self) -> str:
        return ".".join(part for part in (self.plugin, self.rule, self.name) if part)


class FactFilter(FactName):
    """What a fact of the user is."""

    eq: Value | None = None
    in_: tuple[Value, ...] | None = Field(None, alias="in")
    gte: Value | None = None
    gt: Value | None = None
    lte: Value | None = None
    lt: Value | None = None
    is_missing: bool | None = None

    @property
    def named(self) -> FactName:
        """The fact that is meant."""
        return FactName(plugin=self.plugin, rule=self.rule, name=self.name)


class UserFilter(_Shape):
    """Which users."""

    and_: tuple[UserFilter, ...] | None = Field(None, alias="AND")
    or_: tuple[UserFilter, ...] | None = Field(None, alias="OR")
    not_: UserFilter | None = Field(None, alias="NOT")
    tag: tuple[Text, ...] | None = None
    any_tag: tuple[Text, ...] | None = None
    stage: StageFilter | None = None
    any_stage: tuple[StageFilter, ...] | None = None
    attribute: tuple[AttributeFilter, ...] | None = None
    source: tuple[Text, ...] | None = None
    identity: tuple[Text, ...] | None = None
    first_seen: MomentRange | None = None
    last_seen: MomentRange | None = None
    fact: tuple[FactFilter, ...] | None = None

    def within(self, field: str) -> Iterator[tuple[str, UserFilter]]:
        """It and the filters within, at whatever depth, each with its place below ``field``."""
        yield field, self
        for name, some in (("AND", self.and_), ("OR", self.or_)):
            for number, each in enumerate(some or ()):
                yield from each.within(f"{field}.{name}.{number}")
        if self.not_ is not None:
            yield from self.not_.within(f"{field}.NOT")

    def facts(self, field: str) -> list[tuple[str, FactFilter]]:
        """What it asks of facts, each test with its place below ``field``."""
        return [
            (f"{place}.fact.{number}", test)
            for place, each in self.within(field)
            for number, test in enumerate(each.fact or ())
        ]

    @property
    def data(self) -> dict[str, Any]:
        """As JSON data, which :func:`filter_of` reads again."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def filter_of(data: Any, field: str = "filter") -> UserFilter:
    """The filter in JSON data; what is wrong with it is an :class:`siyu.InputError` that says where."""
    limited(data, field)
    try:
        return UserFilter.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([field, *(str(part) for part in first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        remedy = "see UserFilter in the schema for what there is"
        if first["type"] == "value_error":
            remedy = "send a text of whole Unicode characters, a finite number, true or false"
        raise InputError(message, field=where, remedy=remedy) from None


def limited(data: Any, field: str, depth: int = 1) -> int:
    """How many values are in the data of a filter, of whatever kind; too many, too long a list, or too deep a filter is
    an :class:`siyu.InputError`."""
    if depth > MOST_DEPTH:
        remedy = "say the same with fewer levels"
        raise InputError(f"filters within filters of more than {MOST_DEPTH} levels", field=field, remedy=remedy)
    if isinstance(data, list | tuple):
        if len(data) > MOST_VALUES:
            raise InputError(f"{len(data)} values", field=field, remedy=f"give at most {MOST_VALUES}")
        conditions = sum(limited(each, f"{field}.{number}", depth) for number, each in enumerate(data))
    elif isinstance(data, Mapping):
        conditions = sum(
            limited(value, f"{field}.{name if name in _WITHIN else to_camel(name)}", depth + (name in _WITHIN))
            for name, value in data.items()
            if isinstance(name, str)
        )
    else:
        conditions = 1
    if conditions > MOST_CONDITIONS:
        remedy = f"give at most {MOST_CONDITIONS} values in one filter"
        raise InputError(f"{conditions} values", field=field, remedy=remedy)
    return conditions


_WITHIN = {"AND", "OR", "NOT"}


# -- as SQL -------------------------------------------------------------------------------------------------------

Holds = Callable[[FactFilter, bool], Term]
"""What stands for a fact in a statement. The second argument says whether it lies within an odd number of NOTs."""


def users_where(filter: UserFilter, holds: Holds | None = None) -> Term:
    """The filter as a condition on ``users t`` of a brand (``$1``); never one who counts as another."""
    return all_of([_COUNTS, combined(filter, lambda each, odd: _of_user(each, odd, holds or _unknown))])


def relaxed(_: FactFilter, odd: bool) -> Term:
    """Lets all users through who may pass, as long as nothing is known of facts: for :func:`users_where`."""
    return Term("FALSE" if odd else "TRUE")


def among(users: Sequence[int]) -> Term:
    """One of these users."""
    return Term("t.id = ANY({}::bigint[])", (users,))


def between(column: str, wanted: MomentRange | None) -> Iterator[Term]:
    """A moment in a column that is never null, within a range."""
    for name, sign in _SIGNS.items():
        if wanted is not None and (moment := getattr(wanted, name)) is not None:
            yield Term(f"t.{column} {sign} {{}}", (moment,))


def combined(filter: Any, terms: Callable[[Any, bool], Iterable[Term]], odd: bool = False) -> Term:
    """A filter of any kind that has ``and_``, ``or_`` and ``not_``, as a condition. ``terms`` gives its own ones, told
    whether they lie within an odd number of NOTs."""
    found = list(terms(filter, odd))
    found += (combined(each, terms, odd) for each in filter.and_ or ())
    if filter.or_ is not None:
        found.append(any_of(combined(each, terms, odd) for each in filter.or_))
    if filter.not_ is not None:
        found.append(negated(combined(filter.not_, terms, not odd)))
    return all_of(found)


_SIGNS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}


def _unknown(test: FactFilter, _: bool) -> Term:
    raise TypeError(f"{test} was not looked up")


_COUNTS = Term("NOT EXISTS (SELECT FROM merged_user m WHERE m.brand_id = t.brand_id AND m.user_id = t.id)")
# What was merged into a user is looked for with all whom they stand for; attributes and moments are the person's.
ALL_OF = """(
    SELECT t.id UNION ALL SELECT m.user_id FROM merged_user m WHERE m.brand_id = t.brand_id AND m.into_id = t.id)"""
"""SQL of the users that the user in ``users t`` stands for, that one included."""
_HAS_TAG = "EXISTS (SELECT FROM tag_assignment a WHERE a.brand_id = t.brand_id AND a.user_id = t.id AND a.tag_id "
_TAG = "= (SELECT id FROM tag WHERE brand_id = $1 AND key = {}))"
_TAGS = "IN (SELECT id FROM tag WHERE brand_id = $1 AND key = ANY({}::text[])))"
_STAGE = """EXISTS (
    SELECT FROM user_stage s WHERE s.brand_id = t.brand_id AND s.user_id = t.id AND s.track = {} AND s.stage = {})"""
_IDENTITY = f"""EXISTS (
    SELECT FROM identity i WHERE i.brand_id = t.brand_id AND i.user_id IN {ALL_OF} AND i.kind = {{}})"""
_SOURCE = f"""EXISTS (
    SELECT FROM event e WHERE e.brand_id = t.brand_id AND e.user_id IN {ALL_OF} AND e.kind = 'contact.added'
        AND e.payload->>'source' = ANY({{}}::text[]))"""
# The index holds the attributes of those who have some.
_HAS_ATTRIBUTE = "(t.attributes <> '{{}}' AND t.attributes @> {}::jsonb)"


def _of_user(filter: UserFilter, odd: bool, holds: Holds) -> Iterator[Term]:
    for key in filter.tag or ():
        yield Term(_HAS_TAG + _TAG, (key,))
    if filter.any_tag is not None:
        yield Term(_HAS_TAG + _TAGS, (filter.any_tag,))
    if filter.stage is not None:
        yield Term(_STAGE, (filter.stage.track, filter.stage.key))
    if filter.any_stage is not None:
        yield any_of(Term(_STAGE, (stage.track, stage.key)) for stage in filter.any_stage)
    for attribute in filter.attribute or ():
        yield from _attribute(attribute)
    if filter.source is not None:
        yield Term(_SOURCE, (filter.source,))
    for kind in filter.identity or ():
        yield Term(_IDENTITY, (kind,))
    yield from between("first_seen", filter.first_seen)
    yield from between("last_seen", filter.last_seen)
    for fact in filter.fact or ():
        yield holds(fact, odd)


def _attribute(wanted: AttributeFilter) -> Iterator[Term]:
    def has(value: str) -> Term:
        return Term(_HAS_ATTRIBUTE, (json.dumps({wanted.name: value}),))

    if wanted.eq is not None:
        yield has(wanted.eq)
    if wanted.in_ is not None:
        yield any_of(map(has, wanted.in_))
    if wanted.is_missing is not None:
        known = Term("t.attributes ? {}", (wanted.name,))
        yield negated(known) if wanted.is_missing else known
