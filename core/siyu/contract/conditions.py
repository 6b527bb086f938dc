"""Conditions are data: a small tree over facts, literals, arithmetic and comparison.

A tree can be read, which a lambda cannot: it is checked when a plugin loads, hashed into the version of the
rulebook, explained in words, and compiled (:mod:`siyu.engine.compile`) to Narwhals for a brand and to plain
Python for one user.

**Missing compares false.** A fact may have no value (no order yet, attribute unknown). Arithmetic on a missing
value is missing, so are a division by zero and what is too large for double precision; any comparison with it is
false, ``!=`` included. ``~`` turns false into true as always, so ``~(a == b)`` holds where ``a`` is missing and
``a != b`` does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Literal, NoReturn, TypeAlias

from siyu.contract.errors import RuleError

__all__ = [
    "ALWAYS",
    "Always",
    "And",
    "Arithmetic",
    "Because",
    "Between",
    "Case",
    "Compare",
    "Condition",
    "Expr",
    "HasTag",
    "In",
    "Leaf",
    "Lit",
    "Missing",
    "Not",
    "Or",
    "Scalar",
    "Tree",
    "cases",
    "lift",
    "same_kind",
]

Scalar = bool | int | float | str | date
Kind = Literal["number", "text", "flag", "date"]

EXACT = 2**53
"""Whole numbers up to this are the same in double precision."""
MOST_PARTS, MOST_LEVELS = 100_000, 150
"""How large the conditions of one rule may be, and how deeply nested each: what is compiled goes down by recursion."""


class Tree:
    """What has parts: fields that are such, or tuples of them."""

    __slots__ = ()

    def parts(self) -> list[Tree]:
        """What it is made of, in reading order."""
        values = (value if isinstance(value, tuple) else (value,) for value in vars(self).values())
        return [part for value in values for part in value if isinstance(part, Tree)]

    def leaves(self) -> Iterator[Leaf]:
        """The facts it mentions, in reading order."""
        for part in self.parts():
            yield from part.leaves()


class Expr(Tree):
    """Something with one value per user, possibly missing: a fact, a literal, or arithmetic on those."""

    __slots__ = ()
    kind: Kind
    __hash__ = object.__hash__

    def __lt__(self, other: object) -> Condition:
        return Compare("<", self, lift(other))

    def __le__(self, other: object) -> Condition:
        return Compare("<=", self, lift(other))

    def __gt__(self, other: object) -> Condition:
        return Compare(">", self, lift(other))

    def __ge__(self, other: object) -> Condition:
        return Compare(">=", self, lift(other))

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return Compare("==", self, lift(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Compare("!=", self, lift(other))

    def __add__(self, other: object) -> Arithmetic:
        return Arithmetic("+", self, lift(other))

    def __radd__(self, other: object) -> Arithmetic:
        return Arithmetic("+", lift(other), self)

    def __sub__(self, other: object) -> Arithmetic:
        return Arithmetic("-", self, lift(other))

    def __rsub__(self, other: object) -> Arithmetic:
        return Arithmetic("-", lift(other), self)

    def __mul__(self, other: object) -> Arithmetic:
        return Arithmetic("*", self, lift(other))

    def __rmul__(self, other: object) -> Arithmetic:
        return Arithmetic("*", lift(other), self)

    def __truediv__(self, other: object) -> Arithmetic:
        return Arithmetic("/", self, lift(other))

    def __rtruediv__(self, other: object) -> Arithmetic:
        return Arithmetic("/", lift(other), self)

    def between(self, low: object, high: object) -> Condition:
        """``low <= self <= high``."""
        return Between(self, lift(low), lift(high))

    def is_in(self, values: Iterable[Scalar]) -> Condition:
        """Whether the value is one of ``values``."""
        if isinstance(values, str):
            raise RuleError(f"is_in({values!r}) is given one text", remedy="give a list of texts, or compare with ==")
        if not isinstance(values, Iterable):
            raise RuleError(f"is_in({values!r}) is given one value", remedy="give a list, or compare with ==")
        return In(self, tuple(lift(value) for value in values))

    def is_missing(self) -> Condition:
        """Whether there is no value."""
        return Missing(self)

    def __bool__(self) -> NoReturn:
        raise RuleError(f"{self!r} has no truth value by itself", remedy="compare it with something: orders > 0")


class Leaf(Expr):
    """An expression that takes its value from outside the tree: a declared fact."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The canonical text of the declaration; equal declarations have equal names."""
        raise NotImplementedError

    def parts(self) -> list[Tree]:
        # Not what it keeps in a tuple: the facts that it is made of stand in its expression, too.
        return [value for value in vars(self).values() if isinstance(value, Tree)]

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Lit(Expr):
    """A literal."""

    value: Scalar
    kind: Kind

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, eq=False, repr=False)
class Arithmetic(Expr):
    """``left op right`` on numbers, computed in double precision."""

    op: str
    left: Expr
    right: Expr
    kind: Kind = "number"

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if side.kind != "number":
                raise RuleError(
                    f"{side!r} is a {side.kind}, and {self.op!r} needs numbers", remedy="compare it instead"
                )

    def __repr__(self) -> str:
        return f"({self.left!r} {self.op} {self.right!r})"


class Condition(Tree):
    """True or false for every user, never missing. Combine with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Condition) -> Condition:
        return And((*_terms(And, self), *_terms(And, _condition(other))))

    def __or__(self, other: Condition) -> Condition:
        return Or((*_terms(Or, self), *_terms(Or, _condition(other))))

    def __invert__(self) -> Condition:
        return Not(self)

    def because(self, words: str) -> Condition:
        """The same, with words of its own for why. Of alternatives joined by ``|`` the first that holds says them:
        they are the reason of the tag or stage, in place of its own."""
        return Because(self, words)

    def __bool__(self) -> NoReturn:
        raise RuleError(
            f"the condition {self!r} has no truth value by itself",
            remedy="combine conditions with & | ~ and brackets, not with and/or/not or a < b < c",
        )


@dataclass(frozen=True, eq=False, repr=False)
class Always(Condition):
    """Holds for everybody."""

    def __repr__(self) -> str:
        return "always"


ALWAYS = Always()


@dataclass(frozen=True, eq=False, repr=False)
class Compare(Condition):
    """``left op right``."""

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        same_kind(self.left, self.right)
        if self.left.kind == "flag" and self.op not in ("==", "!="):
            raise RuleError(f"{self.left!r} is true or false and has no order", remedy="use == or !=")

    def __repr__(self) -> str:
        return f"{self.left!r} {self.op} {self.right!r}"


@dataclass(frozen=True, eq=False, repr=False)
class Between(Condition):
    """``low <= value <= high``."""

    value: Expr
    low: Expr
    high: Expr

    def __post_init__(self) -> None:
        same_kind(self.value, self.low)
        same_kind(self.value, self.high)

    def __repr__(self) -> str:
        return f"{self.low!r} <= {self.value!r} <= {self.high!r}"


@dataclass(frozen=True, eq=False, repr=False)
class In(Condition):
    """Whether the value is among some literals."""

    value: Expr
    choices: tuple[Expr, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise RuleError(f"{self.value!r}.is_in() has no values", remedy="name at least one")
        for choice in self.choices:
            if not isinstance(choice, Lit):
                raise RuleError(f"is_in() takes literals, got {choice!r}", remedy="compare facts with ==")
            same_kind(self.value, choice)

    def __repr__(self) -> str:
        return f"{self.value!r} in {list(self.choices)!r}"


@dataclass(frozen=True, eq=False, repr=False)
class Missing(Condition):
    """Whether there is no value."""

    value: Expr

    def __repr__(self) -> str:
        return f"{self.value!r} is missing"


@dataclass(frozen=True, eq=False, repr=False)
class HasTag(Condition):
    """Whether the user has a tag, of whichever plugin; false where no plugin that is on gives it, which
    ``siyu plugin list`` then says.

    When the rulebook is bound it is replaced by the condition of that tag.
    """

    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key:
            raise RuleError(f"HasTag({self.key!r})", field="key", remedy="give the key of a tag: 'rfm.high_value'")

    def __repr__(self) -> str:
        return f"has tag {self.key}"


@dataclass(frozen=True, eq=False, repr=False)
class And(Condition):
    """All of the terms hold."""

    terms: tuple[Condition, ...]

    def __repr__(self) -> str:
        return "(" + " and ".join(map(repr, self.terms)) + ")"


@dataclass(frozen=True, eq=False, repr=False)
class Or(Condition):
    """One of the terms holds."""

    terms: tuple[Condition, ...]

    def __repr__(self) -> str:
        return "(" + " or ".join(map(repr, self.terms)) + ")"


@dataclass(frozen=True, eq=False, repr=False)
class Not(Condition):
    """The term does not hold."""

    term: Condition

    def __repr__(self) -> str:
        return f"not ({self.term!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Because(Condition):
    """A condition with words for why it holds; see :meth:`Condition.because`."""

    term: Condition
    words: str

    def __post_init__(self) -> None:
        if not isinstance(self.words, str) or not self.words.strip():
            raise RuleError(f"because({self.words!r})", field="because", remedy="say why, in words")

    def __repr__(self) -> str:
        return f"({self.term!r} because {self.words!r})"


Case: TypeAlias = tuple[Condition, str]
"""A condition that says in which case a reason is given, and its words; empty where the case has none."""


def cases(condition: Condition) -> tuple[Condition, list[Case]]:
    """The condition without words, and the cases in which it says why, in the order in which they are tried: none where
    nothing in it has words. Each case implies the condition."""
    match condition:
        case Because(term, words) if not _has_words(term):
            return term, [(term, words)]
        case Or(terms) if _has_words(condition):
            plain, found = zip(*map(cases, terms), strict=True)
            each = [(own or [(term, "")]) for term, own in zip(plain, found, strict=True)]
            return Or(plain), list(chain.from_iterable(each))
        case And(terms) if sum(map(_has_words, terms)) == 1:
            plain, found = zip(*map(cases, terms), strict=True)
            at = next(index for index, own in enumerate(found) if own)
            return And(plain), [(And((*plain[:at], held, *plain[at + 1 :])), words) for held, words in found[at]]
        case _ if not _has_words(condition):
            return condition, []
    raise RuleError(
        f"{condition!r:.300} gives reasons where no single one can be told",
        field="because",
        remedy="put because() behind the alternatives of |, one within each and none within ~",
    )


def _has_words(condition: Condition) -> bool:
    match condition:
        case Because():
            return True
        case And(terms) | Or(terms):
            return any(map(_has_words, terms))
        case Not(term):
            return _has_words(term)
    return False


def walk(tree: Tree) -> Iterator[Tree]:
    """It and all its parts, in reading order."""
    yield tree
    for part in tree.parts():
        yield from walk(part)


_LANGUAGE = (Leaf, Lit, Arithmetic, Always, Compare, Between, In, Missing, HasTag, And, Or, Not, Because)


def measure(tree: Tree) -> tuple[int, int]:
    """How many parts a condition has, and how deeply they are nested. What is mentioned twice counts twice, as it is
    compiled, and is looked at once: a small tree that shares its parts may be an endless one to read."""
    sizes: dict[int, tuple[int, int]] = {}
    todo = [(tree, False)]
    while todo:
        part, ready = todo.pop()
        if id(part) in sizes:
            continue
        if not isinstance(part, _LANGUAGE):
            raise RuleError(
                f"{type(part).__name__} is no part of a condition", remedy="use what siyu has: & | ~ < == in"
            )
        inner = part.parts()
        if ready or not inner:
            below = [sizes[id(each)] for each in inner]
            sizes[id(part)] = 1 + sum(size for size, _ in below), 1 + max((deep for _, deep in below), default=0)
        else:
            todo += [(part, True), *((each, False) for each in inner)]
    return sizes[id(tree)]


def lift(value: object) -> Expr:
    """``value`` as an expression: expressions as they are, Python scalars as literals."""
    match value:
        case Expr():
            return value
        case bool():
            return Lit(value, "flag")
        # Enumerations and numpy's numbers are subclasses; what is kept is the plain value, which can be written out.
        case int() if abs(value) <= EXACT:
            return Lit(int(value), "number")
        case Decimal() | float() if math.isfinite(value):
            return Lit(float(value), "number")
        case str():
            return Lit(str.__str__(value), "text")
        case date() if not isinstance(value, datetime):
            return Lit(value, "date")
    raise RuleError(
        f"{value!r} cannot stand in a condition",
        remedy="use a fact, a finite number (whole ones up to 2**53), a text, a date, True or False",
    )


def _terms(kind: type[And | Or], condition: Condition) -> tuple[Condition, ...]:
    """Chains of one operator lie flat, so that long ones nest no deeper than short ones."""
    return condition.terms if isinstance(condition, kind) else (condition,)


def _condition(value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    raise RuleError(f"{value!r} is not a condition", remedy="put brackets around comparisons: (a > 1) & (b == 'x')")


def same_kind(left: Expr, right: Expr) -> None:
    """Refuse to compare values of two kinds."""
    if left.kind != right.kind:
        raise RuleError(
            f"{left!r} is a {left.kind} and cannot be compared with {right!r}, a {right.kind}",
            remedy="compare values of one kind",
        )
