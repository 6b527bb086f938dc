"""Rules: segmenters give tags, lifecycles give stages. Both only *say*; the core acts.

A rule is a class: its facts are class attributes, its parameters the inner class ``Params``, and one method
yields what it decides. It reads no database, no clock and sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from siyu.contract.conditions import ALWAYS, Condition, Expr
from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.contract.params import Params

if TYPE_CHECKING:
    import polars

__all__ = ["Declaration", "FittedSegmenter", "Lifecycle", "Rule", "Segmenter", "Stage", "State", "Tag"]

State = Mapping[str, Any]
"""What ``fit`` learnt from the whole population: JSON data."""

T = TypeVar("T")

MOST_YIELDED = 10_000
"""How many tags one rule may give; affinities and interests give hundreds."""

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\Z")


@dataclass(frozen=True)
class Tag:
    """A tag and when a user has it.

    ``key`` starts with the plugin's name (``pets.food_running_out``), ``title`` is what an operator reads.
    ``because`` says why, in words, with the names of the rule's facts and parameters in braces; ``facts`` names
    those that are not attributes of the rule because they depend on parameters.
    """

    key: str
    title: str
    when: Condition
    because: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_key(self.key)
        _check_condition(self.key, self.when)


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
        _check_key(self.key)
        _check_condition(self.key, self.when)
        if self.stay < 0:
            raise RuleError(f"stay={self.stay}", field=self.key, remedy="use 0 or more days")


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


class Segmenter(Rule):
    """A rule that gives tags."""

    def tags(self, p: Any) -> Iterable[Tag]:
        """The tags under parameters ``p``: at most 10,000, and within a second, or the rule is fenced."""
        raise NotImplementedError


class FittedSegmenter(Rule):
    """A rule that must look at the whole population first (quantiles, affinities).

    The batch run fits and stores the state with the rulebook; a single event uses the stored state.
    """

    def fit(self, facts: polars.DataFrame, p: Any) -> State:
        """Learn from all users, within a minute: ``facts`` has one row a user and a column for each fact, by attribute
        name."""
        raise NotImplementedError

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        """The tags under parameters ``p`` and what ``fit`` returned."""
        raise NotImplementedError


class Lifecycle(Rule):
    """A rule that gives each user one stage of the track named by ``key``."""

    def stages(self, p: Any) -> Iterable[Stage]:
        """The stages under parameters ``p``, in the order in which they are tried; the last holds always."""
        raise NotImplementedError


def listed(items: Iterable[T]) -> list[T]:
    """What a rule yields; one that does not end is a :class:`RuleError`."""
    found = list(islice(items, MOST_YIELDED + 1))
    if len(found) > MOST_YIELDED:
        raise RuleError(f"it yields more than {MOST_YIELDED:,}", remedy="yield fewer tags")
    return found


def placeholders(template: str) -> list[str]:
    """The names in braces, in order; a malformed template is a :class:`RuleError`."""
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise RuleError(f"because={template!r}: {error}", remedy="close every brace, double a literal one") from None


def _check_key(key: str) -> None:
    if not _KEY.match(key) or len(key) > 80:
        raise RuleError(f"the key {key!r}", remedy="use lower-case words joined by _ and . (at most 80 letters)")


def _check_condition(key: str, when: object) -> None:
    if isinstance(when, Condition):
        return
    remedy = "compare it with something" if isinstance(when, Expr) else "build it from facts, e.g. self.orders >= 3"
    raise RuleError(f"when={when!r} is not a condition", field=key, remedy=remedy)
