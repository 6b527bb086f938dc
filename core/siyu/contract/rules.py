"""Rules: segmenters give tags, lifecycles give stages. Both only *say*; the core acts.

A rule is a class: its facts are class attributes, its parameters the inner class ``Params``, and one method
yields what it decides. It reads no database, no clock and sends nothing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from siyu.contract.conditions import ALWAYS, MOST_LEVELS, MOST_PARTS, Condition, Expr, cases, measure
from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.contract.params import Params

if TYPE_CHECKING:
    import polars

__all__ = ["Declaration", "FittedSegmenter", "Lifecycle", "Rule", "Segmenter", "Stage", "State", "Tag"]

State = Mapping[str, Any]
"""What ``fit`` learnt from the whole population: JSON data."""

MOST_YIELDED = 10_000
"""How many tags one rule may give; affinities and interests give hundreds."""
MOST_TITLE, MOST_BECAUSE = 200, 10_000
"""Letters of a title and of a reason."""
MOST_CASES = 50
"""How many alternatives of one condition may say why."""
MOST_STAY = 3_660
MOST_FACTS = 1_000
"""How many facts the conditions and reasons of one rule may take, each of them a column for every user."""

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\Z")


@dataclass(frozen=True)
class Tag:
    """A tag and when a user has it.

    ``key`` starts with the plugin's name (``pets.food_running_out``), ``title`` is what an operator reads.
    ``because`` says why, in words, with the names of the rule's facts and parameters in braces; ``facts`` names
    those that are not attributes of the rule because they depend on parameters. Where there are several reasons, each
    alternative says its own: ``when=known.because("{age} months old") | presumed.because("bought {bought} of them")``;
    ``because`` is then for alternatives without words, and for when the tag is lost.
    """

    key: str
    title: str
    when: Condition
    because: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Stage:
    """A stage of a track. Stages are tried in the order yielded; the first that holds wins.

    ``stay`` is the least number of calendar days in the stage, the first included, before another may follow: it keeps
    users from flapping.
    """

    key: str
    title: str
    when: Condition = ALWAYS
    because: str = ""
    stay: int = 0
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)
        if type(self.stay) is not int or not 0 <= self.stay <= MOST_STAY:
            raise RuleError(f"stay={self.stay!r}", field=self.key, remedy=f"use 0 to {MOST_STAY} whole days")


T = TypeVar("T", bound=Tag | Stage)


def _refuse_unknown_attributes(cls: type[Rule]) -> None:
    known = {name for parent in cls.__mro__[1:] for name in vars(parent)} | set(cls.facts) | {"Params"}
    for name, value in vars(cls).items():
        if name.startswith("_") or name in known or callable(value) or isinstance(value, property | staticmethod):
            continue
        raise RuleError(
            f"{cls.__name__} has an attribute {name!r} that siyu does not know",
            field=name,
            remedy="known are key, title, Params, facts and methods; start your own with _",
        )


class Declaration:
    """Base of everything that a plugin contributes as a class: a key, a title and parameters."""

    key: ClassVar[str] = ""
    title: ClassVar[str] = ""
    Params: ClassVar[type[Params]] = Params

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "key" not in cls.__dict__:
            cls.key = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if "title" not in cls.__dict__ and cls.__doc__:
            cls.title = cls.__doc__.strip().splitlines()[0]
        if not issubclass(cls.Params, Params):
            raise RuleError(f"{cls.__name__}.Params is {cls.Params!r}", field="Params", remedy="inherit siyu.Params")


class Rule(Declaration):
    """Base of segmenters and lifecycles."""

    facts: ClassVar[dict[str, Fact]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.facts = {
            name: value
            for parent in reversed(cls.__mro__)
            for name, value in vars(parent).items()
            if isinstance(value, Fact)
        }
        _refuse_unknown_attributes(cls)


class Segmenter(Rule, ABC):
    """A rule that gives tags."""

    @abstractmethod
    def tags(self, p: Any) -> Iterable[Tag]:
        """The tags under parameters ``p``: at most 10,000 over 1,000 facts, within a second, or the rule is fenced."""


class FittedSegmenter(Rule, ABC):
    """A rule that must look at the whole population first (quantiles, affinities).

    The batch run fits and stores the state with the rulebook; a single event uses the stored state.
    """

    @abstractmethod
    def fit(self, facts: polars.DataFrame, p: Any) -> State:
        """Learn from all users, within a minute: ``facts`` has one row a user and a column for each fact, by attribute
        name."""

    @abstractmethod
    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        """The tags under parameters ``p`` and what ``fit`` returned."""


class Lifecycle(Rule, ABC):
    """A rule that gives each user one stage of the track named by ``key``."""

    @abstractmethod
    def stages(self, p: Any) -> Iterable[Stage]:
        """The stages under parameters ``p``, in the order in which they are tried; the last holds always."""


def tags_of(rule: Rule, plugin: str, p: Params, state: State | None = None) -> list[Tag]:
    """The tags that a rule of a plugin gives, none where it has yet to be fitted. A :class:`RuleError` where one is not
    a tag, or another plugin's, or gives a reason that nobody knows, and where there is no end of them."""
    given: Iterable[Tag] = ()
    if isinstance(rule, Segmenter):
        given = rule.tags(p)
    elif isinstance(rule, FittedSegmenter) and state is not None:
        given = rule.tags(p, state)
    found = _listed(given, Tag, {*rule.facts, *type(p).model_fields, *(state or ())})
    for tag in found:
        if not tag.key.startswith(f"{plugin}."):
            raise RuleError("a tag of another's name", field=tag.key, remedy=f"start it with {plugin!r}.")
    return found


def stages_of(rule: Lifecycle, p: Params) -> list[Stage]:
    """The stages of a rule, as :func:`tags_of`."""
    return _listed(rule.stages(p), Stage, {*rule.facts, *type(p).model_fields})


def _listed(given: Iterable[T], wanted: type[T], names: Collection[str]) -> list[T]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise RuleError(f"it returns {given!r}", remedy=f"yield each {wanted.__name__}(...), or return a list of them")
    found = list(islice(given, MOST_YIELDED + 1))
    if len(found) > MOST_YIELDED:
        raise RuleError(f"it yields more than {MOST_YIELDED:,}", remedy="yield fewer tags")
    parts, keys, facts = 0, set[str](), set[str]()
    for item in found:
        if not isinstance(item, wanted):
            raise RuleError(f"it yields {item!r}", remedy=f"yield a {wanted.__name__}(...)")
        if item.key in keys:
            raise RuleError("it yields this key twice", field=item.key, remedy="give each a key of its own")
        keys.add(item.key)
        size, levels = measure(item.when)
        parts += size
        if parts > MOST_PARTS or levels > MOST_LEVELS:
            raise too_large(item.key, parts, levels)
        facts.update(leaf.name for leaf in (*item.when.leaves(), *item.facts.values()))
        if len(facts) > MOST_FACTS:
            raise RuleError(f"more than {MOST_FACTS:,} facts", field=item.key, remedy="take fewer, or several rules")
        for name in chain.from_iterable(map(placeholders, _reasons(item))):
            if name not in names and name not in item.facts:
                valid = ", ".join(sorted({*names, *item.facts}))
                raise RuleError(f"because names {{{name}}}", field=item.key, remedy=f"names are: {valid}")
    return found


def _reasons(item: Tag | Stage) -> list[str]:
    """What may be said of why it is given."""
    found = [words for _, words in cases(item.when)[1]]
    for words in found:
        _text(item.key, "because", words, MOST_BECAUSE)
    if len(found) > MOST_CASES:
        raise RuleError(f"{len(found)} cases with reasons", field=item.key, remedy=f"tell at most {MOST_CASES} apart")
    return [item.because, *found]


def too_large(key: str, parts: int, levels: int) -> RuleError:
    """Of conditions that are more than anybody could compile."""
    return RuleError(
        f"conditions of {parts:,} parts, nested {levels:,} deep",
        field=key,
        remedy=f"stay below {MOST_PARTS:,} parts a rule and {MOST_LEVELS} levels",
    )


def placeholders(template: str) -> list[str]:
    """The names in braces, in order; a malformed template is a :class:`RuleError`."""
    try:
        parsed = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise RuleError(f"because={template!r}: {error}", remedy="close every brace, double a literal one") from None
    for _, name, form, conversion in parsed:
        # A width of a billion would be a gigabyte for whoever reads it.
        if form or conversion:
            raise RuleError(f"because={template!r} says how {name!r} is shown", remedy="put the name alone in braces")
    return [str(name) for _, name, _, _ in parsed]


def _check(item: Tag | Stage) -> None:
    """Refuse what could not be stored or shown: it would stop the rules of others, too."""
    key, when = item.key, item.when
    if not isinstance(key, str) or not _KEY.match(key) or len(key) > 80:
        raise RuleError(f"the key {key!r}", remedy="use lower-case words joined by _ and . (at most 80 letters)")
    if not isinstance(when, Condition):
        remedy = "compare it with something" if isinstance(when, Expr) else "build it from facts, e.g. self.orders >= 3"
        raise RuleError(f"when={when!r} is not a condition", field=key, remedy=remedy)
    _text(key, "title", item.title, MOST_TITLE)
    _text(key, "because", item.because, MOST_BECAUSE)
    if not isinstance(item.facts, Mapping) or not all(
        isinstance(name, str) and isinstance(fact, Fact) for name, fact in item.facts.items()
    ):
        raise RuleError(f"facts={_cut(item.facts)}", field=key, remedy="give facts by name: {'bought': Count(...)}")


def _text(key: str, name: str, text: object, most: int) -> None:
    # As PostgreSQL keeps texts: without NUL, and Unicode.
    if not isinstance(text, str) or len(text) > most or "\0" in text or not _unicode(text):
        remedy = f"give a text of at most {most:,} letters, Unicode without NUL"
        raise RuleError(f"{name}={_cut(text)}", field=key, remedy=remedy)


def _unicode(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
