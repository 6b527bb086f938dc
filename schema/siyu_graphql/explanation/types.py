"""Explanations as they are shown."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import strawberry
from siyu.engine import explain as engine
from siyu.flow import explain as core

from siyu_graphql.scalars import JSON

__all__ = ["Explanation"]

CONDITION = (
    "The condition that was tried, as data: a tree of `{op, text, held, value, fact, children}`. Comparisons, `and`,"
    " `or`, `not`, … have `held`; `fact`, `literal` and arithmetic have `value`."
)


@strawberry.type(description="What is kept of the user: a tag or a stage that stands.")
class Standing:
    key: str = strawberry.field(description="The key of the tag or stage.")
    track: str | None = strawberry.field(description="The track of a stage; null of a tag.")
    since: datetime = strawberry.field(description="Since when it stands.")
    rulebook_version: str | None = strawberry.field(description="The version of the rulebook by which it was decided.")
    because: str = strawberry.field(description="Why it was, in words, with the values of that moment.")

    @classmethod
    def of(cls, it: engine.Standing) -> Standing:
        """As it is shown."""
        return cls(key=it.key, track=it.track, since=it.since, rulebook_version=it.version, because=it.because)


@strawberry.type(description="A fact that a rule asks for, and its value.")
class FactValue:
    name: str = strawberry.field(description="What the rule calls it, or its declaration in words.")
    fact: str = strawberry.field(description="Its declaration.")
    value: JSON | None = strawberry.field(description="Its value; null where it is missing.")


@strawberry.type(description="A rule tried for the user.")
class Tried:
    """Base of tags and stages."""

    key: str = strawberry.field(description="Its name for programs.")
    title: str = strawberry.field(description="Its name for people.")
    held: bool = strawberry.field(description="Whether its condition holds.")
    because: str = strawberry.field(description="Why it holds, or what of the condition fails, in words.")
    words: str = strawberry.field(description="The condition in words, with the values that were found.")
    condition: JSON = strawberry.field(description=CONDITION)
    facts: list[FactValue] = strawberry.field(description="The facts that the condition and the reason mention.")
    params: JSON = strawberry.field(description="An object of the parameters of the rule as they are set.")


@strawberry.type(description="A tag, held or not.")
class TriedTag(Tried):
    plugin: str = strawberry.field(description="The name of the plugin that gives it.")
    rule: str = strawberry.field(description="The key of the rule.")
    stands: Standing | None = strawberry.field(
        description="The tag as it is kept; null where the user does not have it."
    )

    @classmethod
    def of(cls, it: engine.TriedTag) -> TriedTag:
        """As it is shown."""
        stands = Standing.of(it.stands) if it.stands else None
        return cls(**_tried(it), plugin=it.plugin, rule=it.rule, stands=stands)


@strawberry.type(description="A stage of a track.")
class TriedStage(Tried):
    tried: bool = strawberry.field(description="Whether it was its turn: no stage before it holds.")
    stay: int = strawberry.field(description="The least number of days in it before another may follow.")

    @classmethod
    def of(cls, it: engine.TriedStage) -> TriedStage:
        """As it is shown."""
        return cls(**_tried(it), tried=it.tried, stay=it.stay)


@strawberry.type(description="A track, and where it puts the user.")
class TriedTrack:
    key: str = strawberry.field(description="The track: `lifecycle`.")
    title: str = strawberry.field(description="Its name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that rules it.")
    rule: str = strawberry.field(description="The key of the rule.")
    stage: str | None = strawberry.field(description="The stage that the rules put the user in.")
    first: str | None = strawberry.field(description="The first stage whose condition holds.")
    kept_until: datetime | None = strawberry.field(
        description="Until when the minimum stay keeps the user in an earlier stage than `first`; null if it does not."
    )
    stages: list[TriedStage] = strawberry.field(description="Its stages, in the order in which they are tried.")
    stands: Standing | None = strawberry.field(description="The stage that is kept; null where none is.")

    @classmethod
    def of(cls, it: engine.TriedTrack) -> TriedTrack:
        """As it is shown."""
        return cls(
            key=it.key,
            title=it.title,
            plugin=it.plugin,
            rule=it.rule,
            stage=it.stage,
            first=it.first,
            kept_until=it.kept_until,
            stages=[TriedStage.of(stage) for stage in it.stages],
            stands=Standing.of(it.stands) if it.stands else None,
        )


@strawberry.type(description="What the brand's rules, as they are set now, say of a user, and why. Nothing is written.")
class Explanation:
    at: datetime = strawberry.field(description="The moment that it is for.")
    rulebook_version: str = strawberry.field(description="The version of the rulebook: a hash of all its rules.")
    tags: list[TriedTag] = strawberry.field(description="Every tag of the rulebook, held or not.")
    tracks: list[TriedTrack] = strawberry.field(description="Every track of the rulebook.")
    gone: list[Standing] = strawberry.field(
        description="What still stands although the rulebook no longer has its rule; the next refresh takes it back."
    )
    fenced: list[Standing] = strawberry.field(
        description="What stands because its rule fails (`plugin.status`): it stays until the rule is tried again."
    )

    @classmethod
    def of(cls, it: core.Explanation) -> Explanation:
        """As it is shown."""
        return cls(
            at=it.at,
            rulebook_version=it.version,
            tags=[TriedTag.of(tag) for tag in it.tags],
            tracks=[TriedTrack.of(track) for track in it.tracks],
            gone=[Standing.of(each) for each in it.gone],
            fenced=[Standing.of(each) for each in it.fenced],
        )


def _tried(it: engine.TriedTag | engine.TriedStage) -> dict[str, Any]:
    return {
        "key": it.key,
        "title": it.title,
        "held": it.held,
        "because": it.because,
        "words": it.condition.text,
        "condition": it.condition.to_json(),
        "facts": [FactValue(name=each.name, fact=each.fact, value=_value(each.value)) for each in it.facts],
        "params": dict(it.params),
    }


def _value(value: object) -> JSON | None:
    return None if value is None else JSON(value.isoformat() if isinstance(value, date) else value)
