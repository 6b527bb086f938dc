"""Rules: segmenters give tags, lifecycles give stages. Both only *say*; the core acts.

A rule is a class: its facts are class attributes, its parameters the inner class ``Params``, and one method
yields what it decides. It reads no database, no clock and sends nothing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
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
        """The tags under parameters ``p``: at most 10,000, and within a second, or the rule is fenced."""


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
    found = list(islice(given, MOST_YIELDED + 1))
    if len(found) > MOST_YIELDED:
        raise RuleError(f"it yields more than {MOST_YIELDED:,}", remedy="yield fewer tags")
    for item in found:
        if not isinstance(item, wanted):
            raise RuleError(f"it yields {item!r}", remedy=f"yield a {wanted.__name__}(...)")
        for name in placeholders(item.because):
            if name not in names and name not in item.facts:
                valid = ", ".join(sorted({*names, *item.facts}))
                raise RuleError(f"because names {{{name}}}", field=item.key, remedy=f"names are: {valid}")
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
