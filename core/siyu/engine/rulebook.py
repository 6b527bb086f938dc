"""The rulebook of a brand: the plugins that are on, their parameters and their fitted states, bound together.

Everything that a decision depends on besides the facts is in it, and :attr:`Rulebook.version` is the hash of
that; two brands with the same rulebook have the same version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from siyu.contract.conditions import ALWAYS, And, Condition, HasTag, Not, Or
from siyu.contract.errors import PluginError, RuleError
from siyu.contract.facts import Fact
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import FittedSegmenter, Lifecycle, Segmenter, Stage, State, Tag, placeholders

__all__ = ["Reason", "Rulebook", "TagRule", "Track", "bind"]


@dataclass(frozen=True)
class Reason:
    """How a decision is explained: the template, the facts it mentions, and the parameters as they stood."""

    template: str
    facts: Mapping[str, Fact]
    params: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As stored with the version. Facts are a list: their order is that of the values, and jsonb keeps no other."""
        return {
            "because": self.template,
            "facts": [[name, fact.name] for name, fact in self.facts.items()],
            "params": dict(self.params),
        }


@dataclass(frozen=True)
class TagRule:
    """A tag under concrete parameters."""

    plugin: str
    tag: Tag
    reason: Reason


@dataclass(frozen=True)
class Track:
    """A lifecycle under concrete parameters: its stages in the order in which they are tried."""

    plugin: str
    key: str
    title: str
    stages: tuple[Stage, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Rulebook:
    """All rules of a brand. Order is stable: by plugin, then as declared."""

    tags: tuple[TagRule, ...]
    tracks: tuple[Track, ...]
    settings: Mapping[str, Any]

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Every fact that a condition or a reason mentions, once, ordered by name."""
        found: dict[str, Fact] = {}
        for rule in self.tags:
            _collect(found, rule.tag.when.leaves(), rule.reason)
        for track in self.tracks:
            for stage, reason in zip(track.stages, track.reasons, strict=True):
                _collect(found, stage.when.leaves(), reason)
        return tuple(found[name] for name in sorted(found))

    @cached_property
    def content(self) -> dict[str, Any]:
        """The rulebook as JSON: what was decided by, readable for ever after the plugins have changed."""
        return {
            "settings": self.settings,
            "tags": {
                r.tag.key: {
                    "plugin": r.plugin,
                    "title": r.tag.title,
                    "when": repr(r.tag.when),
                    **r.reason.to_json(),
                }
                for r in self.tags
            },
            "tracks": {
                t.key: {
                    "plugin": t.plugin,
                    "title": t.title,
                    "stages": {
                        s.key: {"title": s.title, "when": repr(s.when), "stay": s.stay, **r.to_json()}
                        for s, r in zip(t.stages, t.reasons, strict=True)
                    },
                }
                for t in self.tracks
            },
        }

    @cached_property
    def version(self) -> str:
        """Sixteen hex digits of the SHA-256 of the content."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def bind(plugins: Iterable[tuple[Plugin, Mapping[str, Params]]], states: Mapping[str, Mapping[str, State]]) -> Rulebook:
    """Bind plugins and their parameters (by declaration key) to a rulebook.

    ``states`` is by plugin, then rule. A fitted segmenter without a state gives no tags until it is fitted.
    """
    tags: dict[str, TagRule] = {}
    tracks: dict[str, Track] = {}
    settings: dict[str, Any] = {}
    for plugin, params in sorted(plugins, key=lambda pair: pair[0].name):
        settings[plugin.name] = {
            "version": plugin.version,
            "params": {key: value.model_dump(mode="json") for key, value in params.items()},
            "states": dict(states.get(plugin.name, {})),
        }
        for rule in plugin.rules:
            p = params[rule.key]
            if isinstance(rule, Lifecycle):
                if rule.key in tracks:
                    raise PluginError(
                        f"{plugin.name} and {tracks[rule.key].plugin} both rule the track {rule.key!r}",
                        field=plugin.name,
                        remedy="switch one of them off",
                    )
                tracks[rule.key] = _track(plugin.name, rule, p)
                continue
            state = states.get(plugin.name, {}).get(rule.key)
            if isinstance(rule, Segmenter):
                given = rule.tags(p)
            elif isinstance(rule, FittedSegmenter) and state is not None:
                given = rule.tags(p, state)
            else:
                continue
            for tag in given:
                if not tag.key.startswith(f"{plugin.name}."):
                    raise RuleError("a tag of another's name", field=tag.key, remedy=f"start it with {plugin.name!r}.")
                if tag.key in tags:
                    raise RuleError("two rules give this tag", field=tag.key, remedy="rename one of them")
                tags[tag.key] = TagRule(plugin.name, tag, _reason({**rule.facts, **tag.facts}, tag.because, p, state))
    expand = _Expander({key: rule.tag.when for key, rule in tags.items()})
    return Rulebook(
        tuple(replace(rule, tag=replace(rule.tag, when=expand(rule.tag.when, (key,)))) for key, rule in tags.items()),
        tuple(
            replace(track, stages=tuple(replace(stage, when=expand(stage.when)) for stage in track.stages))
            for track in tracks.values()
        ),
        settings,
    )


class _Expander:
    """Puts the condition of a tag in the place of :class:`HasTag`, so that every condition is one over facts."""

    def __init__(self, tags: Mapping[str, Condition]) -> None:
        self._tags = tags

    def __call__(self, condition: Condition, within: tuple[str, ...] = ()) -> Condition:
        match condition:
            case HasTag(key):
                if key in within:
                    circle = " → ".join((*within[within.index(key) :], key))
                    raise RuleError(f"tags depend on each other: {circle}", field=key, remedy="break the circle")
                return self(self._tags[key], (*within, key)) if key in self._tags else Not(ALWAYS)
            case And(terms):
                return And(tuple(self(term, within) for term in terms))
            case Or(terms):
                return Or(tuple(self(term, within) for term in terms))
            case Not(term):
                return Not(self(term, within))
        return condition


def _track(plugin: str, rule: Lifecycle, p: Params) -> Track:
    stages = tuple(rule.stages(p))
    keys = [stage.key for stage in stages]
    if not stages or len(set(keys)) < len(keys) or len(keys) > 200:
        raise RuleError(f"stages {keys}", field=rule.key, remedy="yield 1 to 200 stages, each key once")
    reasons = tuple(_reason({**rule.facts, **stage.facts}, stage.because, p, None) for stage in stages)
    return Track(plugin, rule.key, rule.title, stages, reasons)


def _reason(facts: Mapping[str, Fact], template: str, p: Params, state: State | None) -> Reason:
    names = list(dict.fromkeys(placeholders(template)))
    given: dict[str, Any] = {**(state or {}), **p.model_dump(mode="json")}
    if unknown := [name for name in names if name not in facts and name not in given]:
        raise RuleError(
            f"because names {{{unknown[0]}}}",
            field=template,
            remedy=f"names are: {', '.join(sorted({*facts, *given}))}",
        )
    return Reason(
        template,
        {name: facts[name] for name in names if name in facts},
        {name: given[name] for name in names if name not in facts},
    )


def _collect(found: dict[str, Fact], leaves: Iterable[Any], reason: Reason) -> None:
    for leaf in (*leaves, *reason.facts.values()):
        found.setdefault(leaf.name, leaf)
