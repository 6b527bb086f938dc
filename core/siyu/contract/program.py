"""Playbooks as programs: steps laid out in a row, each with what may follow it.

A step is followed only by later ones: no playbook goes round.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from siyu.contract import templates
from siyu.contract.conditions import Because, Condition, Or, walk
from siyu.contract.errors import PluginError, RuleError, SiyuError
from siyu.contract.events import Catalog
from siyu.contract.facts import Fact
from siyu.contract.keeping import from_json, to_json
from siyu.contract.params import Params
from siyu.contract.playbooks import (
    AddTag,
    Assign,
    Daily,
    Grant,
    Happened,
    OnDate,
    Playbook,
    Reentry,
    Send,
    Split,
    StageChanged,
    Step,
    Stop,
    TagGained,
    TagLost,
    Trigger,
    Wait,
    When,
)
from siyu.contract.rules import Tag

__all__ = ["MOST_STEPS", "Instruction", "Program", "program", "tags_given", "texts"]

MOST_STEPS = 200
NEXT = ""
"""The way on from a step that has but one."""


@dataclass(frozen=True)
class Instruction:
    """A step (without those within it) and the numbers of those that may follow, by way."""

    number: int
    key: str
    step: Step
    ways: Mapping[str, int] = field(default_factory=dict)

    @property
    def next(self) -> int:
        """What follows where there is but one way."""
        return self.ways[NEXT]

    @property
    def words(self) -> str:
        """What it does, in words."""
        return _words(self)


@dataclass(frozen=True)
class Program:
    """A playbook under concrete parameters."""

    plugin: str
    key: str
    title: str
    trigger: Trigger
    audience: Condition
    ends: tuple[str | Condition, ...]
    goal: str
    reentry: Reentry
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The plugin's name and the playbook's key."""
        return f"{self.plugin}.{self.key}"

    def text_key(self, each: Instruction) -> str:
        """The key of what a step says; empty where it tells nobody anything (a wait, a benefit, a tag)."""
        step = each.step
        if not isinstance(step, Send | Assign) or isinstance(step, Grant | AddTag):
            return ""
        return (step.template if isinstance(step, Send) else "") or f"{self.name}.{each.key}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """As JSON, which :meth:`of` reads again."""
        kept = {name: to_json(getattr(self, name)) for name in ("trigger", "audience", "ends")}
        steps = [{"key": each.key, "step": to_json(each.step), "ways": each.ways} for each in self.instructions]
        plain = {name: getattr(self, name) for name in ("plugin", "key", "title", "goal", "reentry")}
        return {**plain, **kept, "steps": steps}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Program:
        """The program that was kept."""
        kept = {name: from_json(content[name]) for name in ("trigger", "audience", "ends")}
        steps = tuple(
            Instruction(number, each["key"], from_json(each["step"]), each["ways"])
            for number, each in enumerate(content["steps"])
        )
        plain = {name: content[name] for name in ("plugin", "key", "title", "goal", "reentry")}
        return cls(**plain, **kept, instructions=steps)

    @cached_property
    def version(self) -> str:
        """Sixteen hex digits of the SHA-256 of the content."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def ends_when(self) -> Condition | None:
        """What is looked at before each step."""
        conditions = tuple(each for each in self.ends if isinstance(each, Condition))
        return Or(conditions) if conditions else None

    @property
    def conditions(self) -> list[Condition]:
        """All that it asks about users who are under way."""
        asked = [each.step.condition for each in self.instructions if isinstance(each.step, When)]
        return [*asked, *(each for each in self.ends if isinstance(each, Condition))]

    @property
    def ending_events(self) -> list[str]:
        """The kinds and groups of events that end it, its goal left out."""
        return [each for each in self.ends if isinstance(each, str)]

    @property
    def events(self) -> set[str]:
        """All kinds and groups of events that it listens for."""
        heard = {each.step.event for each in self.instructions if isinstance(each.step, Wait)}
        begun = {self.trigger.event} if isinstance(self.trigger, Happened) else set()
        return (heard | begun | {self.goal} | set(self.ending_events)) - {""}

    @property
    def trigger_words(self) -> str:
        """What sets it off, in words."""
        match self.trigger:
            case Happened(event):
                return event
            case TagGained(tag):
                return f"+ {tag}"
            case TagLost(tag):
                return f"- {tag}"
            case StageChanged(track, before, after):
                return f"{track}: {', '.join(sorted(before)) or '*'} → {', '.join(sorted(after)) or '*'}"
            case Daily(when):
                return f"each day, {when!r}"
            case OnDate(month, day):
                return f"{month:02d}-{day:02d}"
        return "by hand"

    def asks(self, step: int) -> list[Condition]:
        """What it asks about users between ``step`` and wherever they wait next."""
        asked = [self.ends_when] if self.ends_when is not None else []
        seen, ahead = set(), [step]
        while ahead:
            number = ahead.pop()
            if number in seen or number >= len(self.instructions):
                continue
            seen.add(number)
            each = self.instructions[number]
            if isinstance(each.step, When):
                asked.append(each.step.condition)
            # Of those who waited here for an event it is known by now whether it came.
            if not isinstance(each.step, Wait) or (number == step and each.step.event):
                ahead += each.ways.values()
        return asked

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what it sends first."""
        first = self.instructions[0].step
        return isinstance(first, Send) and first.urgent

    @property
    def at_once(self) -> int:
        """The most messages that it sends before it first waits."""

        def sends(number: int) -> int:
            if number >= len(self.instructions) or isinstance(self.instructions[number].step, Wait):
                return 0
            each = self.instructions[number]
            return isinstance(each.step, Send) + max(map(sends, each.ways.values()), default=0)

        return sends(0)

    def mermaid(self) -> str:
        """The steps as a graph, in the language of Mermaid."""
        lines = ["flowchart TD", f'  start(["{_quoted(self.trigger_words)}"]) --> {_node(self, 0)}']
        for each in self.instructions:
            shape = ("{", "}") if isinstance(each.step, When | Split) else ("[", "]")
            lines.append(f'  s{each.number}{shape[0]}"{_quoted(each.words)}"{shape[1]}')
            for way, number in each.ways.items():
                arrow = f"-- {_quoted(way)} -->" if way else "-->"
                lines.append(f"  s{each.number} {arrow} {_node(self, number)}")
        return "\n".join([*lines, '  end_(["end"])'])


# -- made ---------------------------------------------------------------------------------------------------------


def program(
    plugin: str, playbook: Playbook, p: Params, catalog: Catalog, channels: Iterable[str] | None = None
) -> Program:
    """The playbook under parameters ``p``; :class:`RuleError` where it cannot be carried out: steps that nobody
    reaches, events that nobody declares, channels (where given) that are not there, empty texts."""
    where = f"{plugin}.{playbook.key}"
    try:
        steps: list[_Laid] = []
        for way in _lay(playbook.steps(p), steps):
            way[0].ways[way[1]] = -1
        if not steps:
            raise PluginError("it has no steps", remedy="yield at least one")
        keys = [laid.key for laid in steps]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise PluginError(f"two steps {min(twice)!r}", field="key", remedy="give each a key of its own")
        instructions = tuple(
            Instruction(number, laid.key, laid.step, {w: len(steps) if n < 0 else n for w, n in laid.ways.items()})
            for number, laid in enumerate(steps)
        )
        made = Program(
            plugin,
            playbook.key,
            playbook.title,
            playbook.trigger(p),
            playbook.audience(p),
            tuple(playbook.ends(p)),
            playbook.goal,
            playbook.reentry,
            instructions,
        )
        _check(made, catalog, channels)
        tags_given(playbook, p)
        made.version  # noqa: B018 - what cannot be kept is refused here
    except SiyuError as error:
        raise RuleError(
            error.message, field=f"{where}: {error.field or ''}".rstrip(": "), remedy=error.remedy
        ) from None
    except Exception as error:
        raise RuleError(f"it raises {error!r}", field=where, remedy="mend it") from error
    return made


def tags_given(playbook: Playbook, p: Params) -> list[Tag]:
    """The tags that its steps give under parameters ``p``, each once; a :class:`RuleError` where they do not agree."""
    steps: list[_Laid] = []
    _lay(playbook.steps(p), steps)
    found: dict[str, Tag] = {}
    for tag in (each.step.tag for each in steps if isinstance(each.step, AddTag)):
        if repr(found.setdefault(tag.key, tag)) != repr(tag):
            raise RuleError("two steps say different things of a tag", field=tag.key, remedy="rename one of them")
    return list(found.values())


@dataclass
class _Laid:
    key: str
    step: Step
    ways: dict[str, int] = field(default_factory=dict)


def _lay(steps: Iterable[Step], out: list[_Laid]) -> list[tuple[_Laid, str]]:
    """Append ``steps`` and those within them; returns the ways that lead on from the last."""
    loose: list[tuple[_Laid, str]] = []
    for index, step in enumerate(islice(steps, MOST_STEPS + 1)):
        if not isinstance(step, Step):
            raise PluginError(f"steps() gave {step!r}", field="steps", remedy="yield Send, Wait, When, ...")
        if index and not loose:
            raise PluginError(f"nobody reaches {step!r:.200}", field="steps", remedy="remove what follows a Stop")
        if len(out) >= MOST_STEPS:
            raise PluginError(f"more than {MOST_STEPS} steps", field="steps", remedy="make two playbooks of it")
        for laid, way in loose:
            laid.ways[way] = len(out)
        key = getattr(step, "key", "") or f"{type(step).__name__.lower()}_{len(out) + 1}"
        mine = _Laid(key, step)
        out.append(mine)
        within = _within(step)
        if within:
            mine.step = _bare(step)
            loose = []
            for way, inner in within.items():
                if inner:
                    mine.ways[way] = len(out)
                    loose += _lay(inner, out)
                else:
                    loose.append((mine, way))
        else:
            loose = [] if isinstance(step, Stop) else [(mine, NEXT)]
    return loose


def _within(step: Step) -> dict[str, Sequence[Step]]:
    match step:
        case When(_, then, otherwise):
            return {"then": then, "otherwise": otherwise}
        case Split(_, arms):
            return {name: arm.steps for name, arm in arms.items()}
        case Wait(event=event) if event:
            return {"heard": step.heard, "silent": step.silent}
    return {}


def _bare(step: Step) -> Step:
    match step:
        case When():
            return replace(step, then=(), otherwise=())
        case Split():
            return replace(step, arms={name: replace(arm, steps=()) for name, arm in step.arms.items()})
        case Wait():
            return replace(step, heard=(), silent=())
    return step


def _check(made: Program, catalog: Catalog, channels: Iterable[str] | None) -> None:
    for event in sorted(made.events):
        if event not in catalog.kinds and not any(event in kind.groups for kind in catalog.kinds.values()):
            names = ", ".join(catalog.kinds)
            raise PluginError(f"no kind or group of events {event!r}", field="event", remedy=f"kinds are: {names}")
    for condition in (made.audience, *made.conditions, *([made.trigger.when] if hasattr(made.trigger, "when") else [])):
        if not isinstance(condition, Condition):
            raise PluginError(f"{condition!r} is not a condition", field="condition", remedy="compare facts")
        if any(isinstance(part, Because) for part in walk(condition)):
            raise PluginError(f"{condition!r} says why", field="condition", remedy="leave because() to tags and stages")
        for leaf in condition.leaves():
            if isinstance(leaf, Fact):
                catalog.check(leaf)
    known, named = None if channels is None else set(channels), templates.names(catalog)
    for each in made.instructions:
        step = each.step
        for part in ("title", "text", "url", "because") if isinstance(step, Send | Assign) else ():
            for text in texts(getattr(step, part, "")).values():
                templates.check(text, named, f"{each.key}.{part}")
        if isinstance(step, Send):
            if known is not None and step.channel not in known:
                remedy = f"channels are: {', '.join(sorted(known))}"
                raise PluginError(f"no channel {step.channel!r}", field=each.key, remedy=remedy)
            if not any(text.strip() for text in texts(step.text).values()):
                raise PluginError("it sends nothing", field=each.key, remedy="give a text")
        if isinstance(step, AddTag) and not step.tag.key.startswith(f"{made.plugin}."):
            raise PluginError(
                f"the tag {step.text!r} is another's", field=each.key, remedy=f"start it with {made.plugin!r}."
            )
        if isinstance(step, Assign) and not (step.role and any(texts(step.title).values())):
            raise PluginError("a task without role or title", field=each.key, remedy="say who is to do what")


def texts(text: str | Mapping[str, str]) -> dict[str, str]:
    """A text by language; one that is said in one only stands under the empty name."""
    return {"": text} if isinstance(text, str) else dict(text)


# -- in words -----------------------------------------------------------------------------------------------------


def _words(each: Instruction) -> str:
    match each.step:
        case Grant() as step:
            return f"{each.key}: {step.text}"
        case AddTag() as step:
            return f"{each.key}: + {step.text}" + (f", {step.days} days" if step.days else "")
        case Send() as step:
            return f"{each.key}: {step.channel}, {step.purpose}"
        case Assign() as step:
            return f"{each.key}: {step.role}, {step.within}"
        case Wait() as step:
            parts = [str(step.duration)] if step.duration else []
            parts += [f"until {step.until:%H:%M}"] if step.until else []
            parts += [f"or {step.event}"] if step.event else []
            return f"wait {' '.join(parts)}"
        case When(condition):
            return repr(condition)
        case Split(key):
            return f"split {key}"
        case Stop(why):
            return f"stop {why}".strip()
    raise TypeError(each.step)


def _node(made: Program, number: int) -> str:
    return f"s{number}" if number < len(made.instructions) else "end_"


def _quoted(text: str) -> str:
    return text.replace('"', "#quot;").replace("\n", " ")[:200]
