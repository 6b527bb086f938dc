"""Templates: what messages say, in a small part of Jinja.

Output, ``if`` and comparisons, a few filters, and names: nothing that loops, calls, or reaches into an object. Names
are looked up in a table when a template is checked, and none is an attribute of anything when it is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import TemplateError, Undefined, filters, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from siyu.contract.errors import InputError, SiyuError
from siyu.contract.events import Catalog

__all__ = ["BENEFIT", "MOST_TEXT", "Template", "check", "names", "template"]

MOST_TEXT = 20_000
"""Letters of a template, and of what comes out."""
DEEPEST = 30
"""How far ``if`` and expressions may lie in each other."""
BENEFIT = "benefit."
"""How the names of codes begin: of the benefits that the user was given last."""
OWN = ("name", "brand", "adviser.name", "adviser.role", "adviser.tone")
"""The names that there are besides users' attributes."""


class Template:
    """A template that can be rendered: ``names`` are those that it asks for, ``shown`` those it says as they are."""

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > MOST_TEXT:
            raise InputError(
                f"a text of {len(source):,} letters", field="text", remedy=f"use at most {MOST_TEXT:,} letters"
            )
        found = _Reader()
        try:
            tree = found.visit(_LANGUAGE.parse(source))
            self._made = _LANGUAGE.from_string(tree)
        except SiyuError:
            raise
        except TemplateError as error:
            line = getattr(error, "lineno", None) or 1
            raise InputError(f"line {line}: {error.message}", field="text", remedy="mend the template") from None
        except (RecursionError, SyntaxError, MemoryError, ValueError):
            raise InputError("it lies too deep in itself", field="text", remedy="write it flat") from None
        self.names = tuple(found.names)
        self.shown = frozenset(found.shown)
        self._places = tuple((name, place) for name, place in found.names.items())

    def render(self, values: Mapping[str, Any]) -> str:
        """The text with ``values`` by name; :class:`InputError` names the one that is missing and has no default."""
        try:
            given = {place: values[name] for name, place in self._places if name in values}
            text = "".join(self._made.root_render_func(self._made.new_context(given, shared=True)))
        except _Missing as error:
            name = next((name for name, place in self._places if place == error.args[0]), "value")
            raise InputError(
                f"there is no {name}", field=name, remedy=f"say what stands there then: {{{{ {name} | default('…') }}}}"
            ) from None
        except (SiyuError, MemoryError):
            raise
        except Exception as error:  # a filter of a value that it does not fit
            raise InputError(
                f"it cannot be rendered: {error}"[:500], field="text", remedy="mend the template"
            ) from None
        if len(text) > MOST_TEXT:
            raise InputError(
                f"it comes to {len(text):,} letters", field="text", remedy=f"use at most {MOST_TEXT:,} letters"
            )
        return text


@lru_cache(2_000)
def template(source: str) -> Template:
    """The template, parsed; :class:`InputError` says what it may not do."""
    return Template(source)


def names(catalog: Catalog) -> dict[str, str]:
    """What templates may name, with the type of each."""
    own = dict.fromkeys(OWN, "text")
    return own | {f"user.{kind.name}": kind.type for kind in catalog.attributes.values()}


def check(source: str, known: Mapping[str, str], field: str = "text") -> Template:
    """The template, once everything that it names is ``known``; an :class:`InputError` otherwise."""
    try:
        made = template(source)
    except InputError as error:
        raise InputError(error.message, field=field, remedy=error.remedy) from None
    for name in made.names:
        if name not in known and not name.startswith(BENEFIT):
            near = get_close_matches(name, known, n=5, cutoff=0.5)
            raise InputError(f"no name {name!r}", field=field, remedy=f"names are: {', '.join(near or sorted(known))}")
    for name in sorted(made.shown):
        if known.get(name) == "flag":
            raise InputError(
                f"{name} is true or false", field=field, remedy=f"write {{% if {name} %}}…{{% else %}}…{{% endif %}}"
            )
    return made


# -- the language -------------------------------------------------------------------------------------------------


class _Missing(Exception):
    """Raised where a missing value would have been shown; its argument is the place of the name."""


class _Nothing(Undefined):
    """A missing value: compares false, as in rules, and cannot be shown."""

    def _fail_with_undefined_error(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _Missing(self._undefined_name)

    __str__ = __iter__ = __len__ = __int__ = __float__ = _fail_with_undefined_error

    def _false(self, _: object) -> bool:
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _false  # type: ignore[assignment]
    __hash__ = Undefined.__hash__


def _worded(value: Any) -> Any:
    match value:
        case bool():
            raise InputError(f"{value} is no text", field="text", remedy="use it in {% if … %}")
        case float():
            return f"{value:.2f}".removesuffix(".00")
    return value


def _number(value: Any) -> int:
    return int(float(str(value)))


def _rounded(value: Any, digits: int = 0) -> float | int:
    return round(float(str(value)), digits) if digits else round(float(str(value)))


_PART = re.compile(r"%(-?[A-Za-z%])")


def _date(value: Any, form: str = "%Y-%m-%d") -> str:
    """A date, as the locale of no machine has it."""
    if not isinstance(value, date):
        str(value)  # a missing one says so by itself
        raise InputError(f"{value!r} is no date", field="text", remedy="take an attribute that is one")
    parts = {"Y": f"{value.year}", "m": f"{value:%m}", "d": f"{value:%d}", "-m": f"{value.month}", "-d": f"{value.day}"}
    parts["%"] = "%"

    def part(found: re.Match[str]) -> str:
        if found[1] not in parts:
            raise InputError(f"date has no {found[0]}", field="text", remedy="use %Y, %m, %d, %-m and %-d")
        return parts[found[1]]

    return _PART.sub(part, str(form))


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "date": _date,
    "default": filters.do_default,
    "int": _number,
    "length": lambda value: len(value),
    "lower": filters.do_lower,
    "round": _rounded,
    "title": filters.do_title,
    "trim": filters.do_trim,
    "upper": filters.do_upper,
}
_LANGUAGE = ImmutableSandboxedEnvironment(undefined=_Nothing, finalize=_worded, cache_size=0, auto_reload=False)
_LANGUAGE.filters = dict(_FILTERS)
_LANGUAGE.tests = {}
_LANGUAGE.globals = {}

_ALLOWED: Sequence[type[nodes.Node]] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.List,
    nodes.Tuple,
    nodes.Neg,
    nodes.Filter,
)
_WORDS = {"For": "a loop", "Call": "a call", "Macro": "a macro", "Include": "an include", "Import": "an import"}


class _Reader(NodeTransformer):
    """Refuses what is not of the language, and puts a plain variable in the place of each name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.shown: set[str] = set()
        self._deep = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if type(node) not in _ALLOWED:
            word = _WORDS.get(type(node).__name__, type(node).__name__)
            raise InputError(
                f"line {node.lineno}: {word}", field="text", remedy="write names, {% if %}, comparisons and filters"
            )
        self._deep += 1
        if self._deep > DEEPEST:
            raise InputError("it lies too deep in itself", field="text", remedy="write it flat")
        found = super().visit(node, *args, **kwargs)
        self._deep -= 1
        return found

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        return self._place(node, node.name)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        return self._within(node, node.attr)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        return self._within(node, node.arg.value if isinstance(node.arg, nodes.Const) else None)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in _FILTERS:
            remedy = f"filters are: {', '.join(sorted(_FILTERS))}"
            raise InputError(f"line {node.lineno}: no filter {node.name!r}", field="text", remedy=remedy)
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None or node.kwargs:
            raise InputError(f"line {node.lineno}: a filter of that form", field="text", remedy="write value | filter")
        return self.generic_visit(node)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        if node.expr2 is None:
            raise InputError(
                f"line {node.lineno}: an if without else", field="text", remedy="say what stands there else"
            )
        return self.generic_visit(node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        found = self.generic_visit(node)
        places = {place: name for name, place in self.names.items()}
        self.shown |= {places[each.name] for each in node.nodes if isinstance(each, nodes.Name)}
        return found

    def _within(self, node: nodes.Getattr | nodes.Getitem, inner: object) -> nodes.Node:
        if not isinstance(node.node, nodes.Name) or not isinstance(inner, str):
            raise InputError(f"line {node.lineno}: a name in a name", field="text", remedy="write it like user.city")
        return self._place(node, f"{node.node.name}.{inner}")

    def _place(self, node: nodes.Node, name: str) -> nodes.Node:
        place = self.names.setdefault(name, f"v{len(self.names)}")
        return nodes.Name(place, "load", lineno=node.lineno, environment=_LANGUAGE)
