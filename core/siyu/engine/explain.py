"""Why: a reason in words with the values that stood, and every rule of a rulebook tried for one user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from siyu.contract.conditions import Condition, Scalar
from siyu.contract.facts import with_alternatives
from siyu.engine.days import window_start
from siyu.engine.evaluate import Decider, since_column, stage_column
from siyu.engine.rulebook import Reason, Track
from siyu.engine.words import Node, declared, failing, read

__all__ = ["RULE_GONE", "FactValue", "Standing", "TriedStage", "TriedTag", "TriedTrack", "explain", "render", "worded"]

NO_VALUE = "—"
RULE_GONE = "the rulebook no longer has this rule"


@dataclass(frozen=True)
class Standing:
    """What is kept of a user: a tag (``track`` is None) or a stage, since when, by which version, and why."""

    track: str | None
    key: str
    since: datetime
    version: str | None
    because: str


@dataclass(frozen=True)
class FactValue:
    """A fact as the rule names it (or in words), as it is declared, and its value."""

    name: str
    fact: str
    value: Scalar | None


@dataclass(frozen=True)
class TriedTag:
    """A tag, whether it is held, the condition tried, and beside it what stands. ``because`` says why, or why not."""

    key: str
    title: str
    plugin: str
    rule: str
    held: bool
    because: str
    condition: Node
    facts: tuple[FactValue, ...]
    params: Mapping[str, Any]
    stands: Standing | None


@dataclass(frozen=True)
class TriedStage:
    """A stage and whether its condition holds. ``tried`` is false where an earlier stage has won already."""

    key: str
    title: str
    tried: bool
    held: bool
    because: str
    condition: Node
    facts: tuple[FactValue, ...]
    params: Mapping[str, Any]
    stay: int


@dataclass(frozen=True)
class TriedTrack:
    """A track with its stages in the order in which they are tried.

    ``first`` is the first that holds, ``stage`` where the user is put: another where ``kept_until`` says that the
    minimum stay keeps an earlier one.
    """

    key: str
    title: str
    plugin: str
    rule: str
    stage: str | None
    first: str | None
    kept_until: datetime | None
    stages: tuple[TriedStage, ...]
    stands: Standing | None


def explain(
    decider: Decider, facts: Mapping[str, Any], stands: Iterable[Standing], at: datetime
) -> tuple[tuple[TriedTag, ...], tuple[TriedTrack, ...]]:
    """Every rule tried for a user whose facts (by name) are ``facts`` and for whom ``stands`` has been decided."""
    kept = {(each.track, each.key): each for each in stands}
    in_track = {each.track: each for each in kept.values() if each.track is not None}
    before: dict[str, Any] = {}
    for track, each in in_track.items():
        before |= {stage_column(track): each.key, since_column(track): each.since}
    rulebook, decided = decider.rulebook, decider.user(facts, before, at)
    tags = tuple(
        TriedTag(
            rule.tag.key,
            rule.tag.title,
            rule.plugin,
            rule.reason.rule,
            decided[rule.tag.key],
            *_tried(rule.tag.when, rule.reason, facts),
            kept.get((None, rule.tag.key)),
        )
        for rule in rulebook.tags
    )
    return tags, tuple(
        _track(track, facts, decided[stage_column(track.key)], in_track.get(track.key), decider.zone)
        for track in rulebook.tracks
    )


def render(reason: Mapping[str, Any], why: Sequence[Any]) -> str:
    """``reason`` as :meth:`siyu.engine.rulebook.Reason.to_json` stored it, ``why`` the values of its facts."""
    values = dict(zip((name for name, _ in reason.get("facts", ())), why, strict=False))
    words = {name: worded(value) for name, value in {**reason.get("params", {}), **values}.items()}
    template: str = reason.get("because", "")
    if (told := reason.get("cases")) and len(why) > len(values) and why[-1] is not None:
        template = told[why[-1]]
    try:
        return template.format_map(words)
    except (KeyError, ValueError, IndexError):
        # A rulebook written by another version of siyu; its words still tell more than an error.
        return template


def _track(
    track: Track, facts: Mapping[str, Any], stage: str | None, stands: Standing | None, zone: ZoneInfo
) -> TriedTrack:
    stages: list[TriedStage] = []
    first: str | None = None
    for each, reason in zip(track.stages, track.reasons, strict=True):
        tried = first is None
        because, condition, values, params = _tried(each.when, reason, facts)
        held = bool(condition.held)
        if not tried:
            because = condition.text  # its reason takes for granted that no stage before it holds
        stages.append(TriedStage(each.key, each.title, tried, held, because, condition, values, params, each.stay))
        first = each.key if first is None and held else first
    kept_until = None
    if stands is not None and stage == stands.key != first:
        stay = next(s.stay for s in track.stages if s.key == stage)
        # The midnight that ends the last of its days.
        kept_until = window_start(stands.since, zone, 1 - stay)
    rule = track.reasons[0].rule
    return TriedTrack(track.key, track.title, track.plugin, rule, stage, first, kept_until, tuple(stages), stands)


def _tried(
    when: Condition, reason: Reason, facts: Mapping[str, Any]
) -> tuple[str, Node, tuple[FactValue, ...], Mapping[str, Any]]:
    names = {fact.name: name for name, fact in reason.named.items()}
    condition = read(when, names, facts)
    values: dict[str, FactValue] = {}
    for leaf in with_alternatives((*when.leaves(), *reason.facts.values())):
        if leaf.name in facts:
            values[leaf.name] = FactValue(names.get(leaf.name) or declared(leaf), leaf.name, facts[leaf.name])
    said = render(reason.to_json(), reason.values(facts)) if condition.held else ""
    because = said or (condition.text if condition.held else failing(condition))
    return because, condition, tuple(values.values()), {**reason.settings, **reason.params}


def worded(value: Any) -> Any:
    """A value as reasons say it."""
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return f"{value:,.2f}".removesuffix(".00")
    if isinstance(value, list | tuple):
        return ", ".join(str(worded(each)) for each in value)
    return value
