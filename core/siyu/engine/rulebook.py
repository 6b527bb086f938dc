"""The rulebook of a brand: the plugins that are on, their parameters and their fitted states, bound together.

Everything that a decision depends on besides the facts is in it, and :attr:`Rulebook.version` is the hash of
that; two brands with the same rulebook have the same version.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

from siyu.contract.budget import ANSWER_SECONDS, Call, make
from siyu.contract.conditions import (
    ALWAYS,
    MOST_LEVELS,
    MOST_PARTS,
    And,
    Case,
    Condition,
    HasTag,
    Not,
    Or,
    cases,
    measure,
)
from siyu.contract.errors import PluginError, RuleError
from siyu.contract.facts import Fact
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.playbooks import Playbook
from siyu.contract.program import tags_given
from siyu.contract.rules import (
    FittedSegmenter,
    Lifecycle,
    Rule,
    Stage,
    State,
    Tag,
    placeholders,
    stages_of,
    tags_of,
    too_large,
)
from siyu.contract.unknown_tags import tags_in
from siyu.engine.compile import to_python

__all__ = ["Failed", "Name", "Reason", "Rulebook", "Standing", "TagRule", "Track", "bind", "bind_fenced"]


T = TypeVar("T", Tag, Stage)
Name = tuple[str, str]
"""Of a rule: the plugin's name and the rule's key."""


@dataclass(frozen=True)
class Reason:
    """How a decision is explained: the template, the facts it mentions, and the parameters as they stood.

    ``rule`` is the key of the rule, ``named`` all its facts by its own names, ``settings`` all its parameters. Where
    there are ``cases``, the first that holds has the template; ``template`` is for where none does, as at a loss.
    """

    template: str
    facts: Mapping[str, Fact]
    params: Mapping[str, Any]
    rule: str = ""
    named: Mapping[str, Fact] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As stored with the version. Facts are a list: their order is that of the values, and jsonb keeps no other.
        Behind the values stands the number of the case, where there are cases."""
        kept = {
            "because": self.template,
            "facts": [[name, fact.name] for name, fact in self.facts.items()],
            "params": dict(self.params),
        }
        return kept | ({"cases": [template for _, template in self.cases]} if self.cases else {})

    def values(self, facts: Mapping[str, Any]) -> list[Any]:
        """What is stored of a user with these facts (by their own names): the values, and the number of the case."""
        found = [facts[fact.name] for fact in self.facts.values()]
        return [*found, self._case(tuple(facts[name] for name in self.asked))] if self.cases else found

    @cached_property
    def asked(self) -> list[str]:
        """The names of the facts that say which case it is."""
        return list({leaf.name: None for when, _ in self.cases for leaf in when.leaves()})

    @cached_property
    def _case(self) -> Callable[[tuple[Any, ...]], int | None]:
        evaluate = to_python(self.asked, [], [[when for when, _ in self.cases]])
        return lambda row: evaluate(row)[1][0]


@dataclass(frozen=True)
class TagRule:
    """A tag under concrete parameters, and the rule that gives it, or the playbook whose steps have it ``given``."""

    plugin: str
    tag: Tag
    reason: Reason
    given: bool = False

    @property
    def name(self) -> Name:
        """Of the rule that gives it."""
        return self.plugin, self.reason.rule


@dataclass(frozen=True)
class Track:
    """A lifecycle under concrete parameters: its stages in the order in which they are tried."""

    plugin: str
    key: str
    title: str
    stages: tuple[Stage, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Standing:
    """What fenced rules last decided by, from the content of an earlier rulebook: it stays as it is."""

    tags: Mapping[str, Any] = field(default_factory=dict)
    tracks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rulebook:
    """All rules of a brand. Order is stable: by plugin, then as declared."""

    tags: tuple[TagRule, ...]
    tracks: tuple[Track, ...]
    settings: Mapping[str, Any]
    standing: Standing = Standing()
    asked: Mapping[Name, Collection[str]] = field(default_factory=dict)
    """The tags that rules build on."""
    unsure: Collection[str] = ()
    """Plugins of which not all tags are known: their rules fail, or have yet to be fitted."""

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
        tags = {
            r.tag.key: {
                "plugin": r.plugin,
                "rule": r.reason.rule,
                "title": r.tag.title,
                "when": repr(r.tag.when),
                **r.reason.to_json(),
            }
            for r in self.tags
        }
        tracks = {
            t.key: {
                "plugin": t.plugin,
                "rule": t.key,
                "title": t.title,
                "stages": {
                    s.key: {"title": s.title, "when": repr(s.when), "stay": s.stay, **r.to_json()}
                    for s, r in zip(t.stages, t.reasons, strict=True)
                },
            }
            for t in self.tracks
        }
        return {
            "settings": self.settings,
            "tags": {**tags, **self.standing.tags},
            "tracks": {**tracks, **self.standing.tracks},
        }

    @cached_property
    def version(self) -> str:
        """Sixteen hex digits of the SHA-256 of the content."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Failed = dict[Name, Exception]
"""The rules that failed, and how."""

_Answer = tuple[list[TagRule], Track | None]


def bind(plugins: Iterable[tuple[Plugin, Mapping[str, Params]]], states: Mapping[str, Mapping[str, State]]) -> Rulebook:
    """Bind plugins and their parameters (by declaration key) to a rulebook; a rule that fails is an error.

    ``states`` is by plugin, then rule. A fitted segmenter without a state gives no tags until it is fitted.
    """
    rulebook, failed = bind_fenced(plugins, states)
    for error in failed.values():
        raise error
    return rulebook


def bind_fenced(
    plugins: Iterable[tuple[Plugin, Mapping[str, Params]]],
    states: Mapping[str, Mapping[str, State]],
    *,
    fenced: Failed | None = None,
    previous: Mapping[str, Any] | None = None,
) -> tuple[Rulebook, Failed]:
    """As :func:`bind`, but a rule that fails stops nobody else.

    It is in the second result, and what it decided by in ``previous`` (the content of an earlier rulebook) is carried
    over as :class:`Standing`. So are rules in ``fenced``, which are not asked. Of two that give one tag, or rule one
    track, both fail: which of them is right is for a person to say.
    """
    binder = _Binder(dict(fenced or {}))
    unfitted: set[str] = set()
    settings: dict[str, Any] = {}
    calls: dict[Name, Call[_Answer]] = {}
    for plugin, params in sorted(plugins, key=lambda pair: pair[0].name):
        settings[plugin.name] = {
            "version": plugin.version,
            "params": {key: value.model_dump(mode="json") for key, value in params.items()},
            "states": dict(states.get(plugin.name, {})),
        }
        for rule in plugin.rules:
            name = (plugin.name, rule.key)
            if isinstance(rule, FittedSegmenter) and rule.key not in states.get(plugin.name, {}):
                unfitted.add(plugin.name)
            if name not in binder.failed:
                calls[name] = _call(plugin, rule, params[rule.key], states.get(plugin.name, {}).get(rule.key))
        for playbook in plugin.playbooks:
            name = (plugin.name, playbook.key)
            if name not in binder.failed:
                calls[name] = _given(name, playbook, params[playbook.key])
    binder.add(calls)
    rulebook = binder.rulebook(settings, previous or {})
    unsure = {*unfitted, *(name for name, _ in binder.failed)}
    return replace(rulebook, asked=binder.asked(), unsure=unsure), binder.failed


class _Binder:
    def __init__(self, failed: Failed) -> None:
        self.failed = failed
        self._tags: dict[str, TagRule] = {}
        self._tracks: dict[str, Track] = {}

    def add(self, calls: Mapping[Name, Call[_Answer]]) -> None:
        """Ask rules what they decide; those that fail, or take too long over it, are fenced."""
        for name, answer in zip(calls, make(list(calls.values()), ANSWER_SECONDS), strict=True):
            if isinstance(answer, Exception):
                self.failed[name] = answer
            else:
                self._take(*answer)
        self._leave_out()

    def _take(self, tags: Sequence[TagRule], track: Track | None) -> None:
        for tag in tags:
            known = self._tags.get(tag.tag.key)
            if known and tag.given and known.given and repr(known.tag) == repr(tag.tag):
                continue
            if known:
                error = RuleError("two rules give this tag", field=tag.tag.key, remedy="rename one of them")
                self.failed |= {known.name: error, tag.name: error}
            self._tags[tag.tag.key] = tag
        if track is not None:
            if other := self._tracks.get(track.key):
                clash = PluginError(
                    f"{track.plugin} and {other.plugin} both rule the track {track.key!r}",
                    field=track.plugin,
                    remedy="switch one of them off",
                )
                self.failed |= {(other.plugin, track.key): clash, (track.plugin, track.key): clash}
            self._tracks[track.key] = track

    def _leave_out(self) -> None:
        """What has failed since it answered."""
        self._tags = {k: t for k, t in self._tags.items() if t.name not in self.failed}
        self._tracks = {k: t for k, t in self._tracks.items() if (t.plugin, k) not in self.failed}

    def asked(self) -> dict[Name, set[str]]:
        """The tags that rules build on."""
        found: dict[Name, set[str]] = {}
        for each in self._tags.values():
            found.setdefault(each.name, set()).update(tags_in([each.tag.when]))
        for track in self._tracks.values():
            found[track.plugin, track.key] = tags_in(stage.when for stage in track.stages)
        return found

    def rulebook(self, settings: Mapping[str, Any], previous: Mapping[str, Any]) -> Rulebook:
        """What was added, each condition over facts alone; what failed stands as in ``previous``."""
        while True:
            standing = Standing(self._standing(previous.get("tags", {})), self._standing(previous.get("tracks", {})))
            expand = _Expander({key: rule.tag.when for key, rule in self._tags.items()}, set(standing.tags))
            try:
                tags = tuple(
                    replace(
                        each,
                        tag=replace(each.tag, when=expand(each.tag.when, each.name, (key,))),
                        reason=expand.reason(each.reason, each.name, (key,)),
                    )
                    for key, each in self._tags.items()
                )
                tracks = tuple(
                    replace(
                        each,
                        stages=tuple(replace(s, when=expand(s.when, (each.plugin, key))) for s in each.stages),
                        reasons=tuple(expand.reason(reason, (each.plugin, key)) for reason in each.reasons),
                    )
                    for key, each in self._tracks.items()
                )
            except _Unfounded as unfounded:
                # Whatever builds on a fenced tag stands still with it.
                self.failed[unfounded.rule] = unfounded.error
                self._leave_out()
            else:
                return Rulebook(tags, tracks, settings, standing)

    def _standing(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        return {key: entry for key, entry in entries.items() if (entry["plugin"], entry.get("rule")) in self.failed}


def _call(plugin: Plugin, rule: Rule, p: Params, state: State | None) -> Call[_Answer]:
    def ask() -> _Answer:
        tags, track = _ask(plugin.name, rule, p, state)
        said = [(each.tag.when, each.reason) for each in tags]
        said += [(s.when, r) for s, r in zip(track.stages, track.reasons, strict=True)] if track else []
        facts = {leaf.name: leaf for when, reason in said for leaf in (*when.leaves(), *reason.named.values())}
        for fact in facts.values():
            if isinstance(fact, Fact):
                plugin.check_fact(fact)
        return tags, track

    return Call(rule.key, ((plugin.name, rule.key), p, state), ask)


def _ask(plugin: str, rule: Rule, p: Params, state: State | None) -> _Answer:
    if isinstance(rule, Lifecycle):
        return [], _track(plugin, rule, p)
    settings = p.model_dump(mode="json")
    given = {**(state or {}), **settings}
    said = [_said(rule, tag, given, settings) for tag in tags_of(rule, plugin, p, state)]
    return [TagRule(plugin, tag, reason) for tag, reason in said], None


def _given(name: Name, playbook: Playbook, p: Params) -> Call[_Answer]:
    """The tags that the steps of a playbook give."""

    def ask() -> _Answer:
        given = [(tag, Reason(tag.because, tag.facts, {}, name[1])) for tag in tags_given(playbook, p)]
        return [TagRule(name[0], tag, reason, given=True) for tag, reason in given], None

    return Call(playbook.key, (name, p), ask)


class _Unfounded(Exception):
    """A condition that builds on what is not there."""

    def __init__(self, rule: Name, error: RuleError) -> None:
        super().__init__(str(error))
        self.rule, self.error = rule, error


class _Expander:
    """Puts the condition of a tag in the place of :class:`HasTag`, so that every condition is one over facts."""

    def __init__(self, tags: Mapping[str, Condition], fenced: Collection[str]) -> None:
        self._tags = tags
        self._fenced = fenced
        self._known: dict[str, Condition] = {}

    def __call__(self, condition: Condition, rule: Name, within: tuple[str, ...] = ()) -> Condition:
        try:
            expanded = self._expand(condition, rule, within)
        except RecursionError:
            raise _Unfounded(
                rule, RuleError("tags build on tags without end", remedy="let them build on facts")
            ) from None
        # One that builds on no tag was measured when it was yielded.
        parts, levels = (0, 0) if expanded is condition else measure(expanded)
        if parts > MOST_PARTS or levels > MOST_LEVELS:
            raise _Unfounded(rule, too_large("with the tags that it builds on", parts, levels))
        return expanded

    def reason(self, reason: Reason, rule: Name, within: tuple[str, ...] = ()) -> Reason:
        """A reason, the conditions of its cases over facts alone."""
        if not reason.cases:
            return reason
        return replace(reason, cases=tuple((self(when, rule, within), words) for when, words in reason.cases))

    def _expand(self, condition: Condition, rule: Name, within: tuple[str, ...]) -> Condition:
        match condition:
            case HasTag(key):
                if key in within:
                    circle = " → ".join((*within[within.index(key) :], key))
                    raise _Unfounded(
                        rule, RuleError(f"tags depend on each other: {circle}", field=key, remedy="break the circle")
                    )
                if key in self._fenced:
                    raise _Unfounded(rule, RuleError(f"it builds on {key}, whose rule is fenced", field=key))
                if key not in self._known:
                    found = self._tags.get(key, Not(ALWAYS))
                    self._known[key] = self._expand(found, rule, (*within, key))
                return self._known[key]
            case And(terms) | Or(terms):
                inner = tuple(self._expand(term, rule, within) for term in terms)
                return condition if all(map(operator.is_, terms, inner)) else type(condition)(inner)
            case Not(term):
                whole = self._expand(term, rule, within)
                return condition if whole is term else Not(whole)
        return condition


def _track(plugin: str, rule: Lifecycle, p: Params) -> Track:
    settings = p.model_dump(mode="json")
    said = [_said(rule, stage, settings, settings) for stage in stages_of(rule, p)]
    if not 1 <= len(said) <= 200:
        raise RuleError(f"{len(said)} stages", field=rule.key, remedy="yield 1 to 200")
    stages, reasons = zip(*said, strict=True)
    return Track(plugin, rule.key, rule.title, stages, reasons)


def _said(rule: Rule, item: T, given: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[T, Reason]:
    """A tag or stage, and apart from its condition why it is given."""
    when, found = cases(item.when)
    template = item.because or "; ".join(dict.fromkeys(words for _, words in found if words))
    told: tuple[Case, ...] = tuple((held, words or item.because) for held, words in found)
    facts = {**rule.facts, **item.facts}
    names = dict.fromkeys(chain.from_iterable(map(placeholders, (template, *(words for _, words in told)))))
    reason = Reason(
        template,
        {name: facts[name] for name in names if name in facts},
        {name: given[name] for name in names if name not in facts},
        rule.key,
        facts,
        settings,
        told,
    )
    return replace(item, when=when), reason


def _collect(found: dict[str, Fact], leaves: Iterable[Any], reason: Reason) -> None:
    for leaf in (*leaves, *reason.facts.values()):
        found.setdefault(leaf.name, leaf)
