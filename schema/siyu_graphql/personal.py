"""Personal data as a request shows it: masked, or seen and counted for the audit log."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from siyu.engine.explain import worded
from siyu.engine.words import shown
from siyu.flow.personal import NOTHING_ELSE, Names, is_personal, mask, named_in, names_in, veil
from siyu.flow.tokens import Access, Forbidden, Right

__all__ = ["Personal"]

T = TypeVar("T")


class Personal:
    """What one request may see, and whose data it was shown. ``whose`` is a user's number, or names something else."""

    def __init__(self, access: Access, declared: Names = NOTHING_ELSE) -> None:
        self._access = access
        self.declared = declared
        self._allowed = access.may(Right.PERSONAL)
        self._seen: dict[int, set[Hashable]] = {}

    def shown(self, brand_id: int, whose: Hashable, value: Any) -> Any:
        """JSON, with what is personal in it as the bearer may see it."""
        veiled, found = veil(value, self.declared)
        return value if not found or self.may_see(brand_id, whose) else veiled

    def named(self, brand_id: int, whose: Hashable, name: str, value: Any) -> Any:
        """A value that goes by ``name``."""
        return mask(value) if is_personal(name, self.declared) and not self.may_see(brand_id, whose) else value

    def or_null(self, brand_id: int, whose: Hashable, names: Iterable[str], value: Any) -> Any:
        """A value that has a type, which a mask has not: None where any of its names is personal and not to be seen."""
        if value is None or not any(is_personal(name, self.declared) for name in names):
            return value
        return value if self.may_see(brand_id, whose) else None

    def fact(self, brand_id: int, whose: Hashable, declaration: str, value: Any) -> Any:
        """The value of a fact."""
        return self.covered(brand_id, whose, value) if named_in(declaration, self.declared) else value

    def covered(self, brand_id: int, whose: Hashable, value: Any) -> Any:
        """A value that is personal, or may be."""
        return value if value is None or self.may_see(brand_id, whose) else mask(value)

    def told(self, brand_id: int, whose: Hashable, source: Any, text: str) -> str:
        """A text that may quote what is personal in ``source``."""
        for raw, covered in _covered(source, veil(source, self.declared)[0]):
            if raw in text:
                if self.may_see(brand_id, whose):
                    break
                text = text.replace(raw, covered)
        return text

    def explained(self, brand_id: int, whose: Hashable, facts: Iterable[tuple[str, Any]], it: T) -> T:
        """What was made of ``facts`` (declaration and value), in whose texts their values may stand."""
        held = {
            text: str(mask(value))
            for declaration, value in facts
            if value is not None and named_in(declaration, self.declared)
            for text in (str(value), str(worded(value)), shown(value))
        }
        return it if not held or self.may_see(brand_id, whose) else _replaced(it, held, _standing(held))

    def asked(self, brand_id: int, name: str, field: str) -> None:
        """Users are asked for by the value of what goes by ``name``: :class:`siyu.flow.tokens.Forbidden` where that is
        personal and not to be seen, since whoever guesses would learn it."""
        if is_personal(name, self.declared) and not self.may_see(brand_id, f"who has which {name}"):
            raise Forbidden(
                f"{name!r} is personal: a token of role {self._access.role} may not ask for users by it",
                field=field,
                remedy="use a token that sees personal data, or ask by something else",
            )

    def asked_of_fact(self, brand_id: int, declaration: str, field: str) -> None:
        """As :meth:`asked`, by a fact."""
        for name in names_in(declaration):
            self.asked(brand_id, name, field)

    @property
    def seen(self) -> Mapping[int, int]:
        """Of how many users personal data was shown, by brand."""
        return {brand_id: len(users) for brand_id, users in self._seen.items()}

    def may_see(self, brand_id: int, whose: Hashable) -> bool:
        """Whether personal data may be seen; if so, it is, and counts."""
        if self._allowed:
            self._seen.setdefault(brand_id, set()).add(whose)
        return self._allowed


def _standing(texts: Iterable[str]) -> re.Pattern[str]:
    """Finds these texts in others, the longest first; a short number not in another, or in a name: 0 in baby_0_6."""
    found = []
    for text in sorted(texts, key=len, reverse=True):
        number = re.fullmatch(r"[-+.,0-9]{1,6}", text)
        found.append(rf"(?<![A-Za-z0-9_.]){re.escape(text)}(?![A-Za-z0-9_]|\.\d)" if number else re.escape(text))
    return re.compile("|".join(found))


def _replaced(it: Any, held: Mapping[str, str], standing: re.Pattern[str]) -> Any:
    """``it`` with other texts wherever those of ``held`` stand."""
    match it:
        case str():
            return standing.sub(lambda found: held[found[0]], it)
        case Mapping():
            return {name: _replaced(inner, held, standing) for name, inner in it.items()}
        case list() | tuple():
            return type(it)(_replaced(inner, held, standing) for inner in it)
        case _ if is_dataclass(it) and not isinstance(it, type):
            new = {each.name: _replaced(getattr(it, each.name), held, standing) for each in fields(it)}
            return replace(it, **new)
    return held.get(str(it), it)


def _covered(raw: Any, covered: Any) -> Iterator[tuple[str, str]]:
    """Each text and what it is covered by, where it is."""
    match raw:
        case Mapping():
            for name, inner in raw.items():
                yield from _covered(inner, covered[name])
        case list():
            for inner, other in zip(raw, covered, strict=True):
                yield from _covered(inner, other)
        case _ if raw != covered:
            yield str(raw), str(covered)
