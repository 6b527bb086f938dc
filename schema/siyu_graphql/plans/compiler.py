"""A selection made into a plan: what is to be read, and the code that writes the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from graphql import GraphQLField, GraphQLObjectType, get_named_type
from graphql.execution.values import VariableValues
from siyu import SiyuError
from siyu.store.db import Connection

from siyu_graphql.paging import Listing, Order, Window
from siyu_graphql.plans import mapping, reading
from siyu_graphql.plans.document import Arguments, Prepared, Selected, Unplanned, definition
from siyu_graphql.plans.mapping import Catalog, Column, Field, Fields, Known
from siyu_graphql.plans.nouns import BRAND, FIELDS
from siyu_graphql.plans.pages import Chosen, Counted, Page, Paged, all_of_user, rows_of_user
from siyu_graphql.plans.reading import KNOWN, PERSON, Columns, Elements, Joined, Nested, Request, Shape, Total
from siyu_graphql.plans.writing import Code, Template, quoted, written
from siyu_graphql.reasons import MERGED

__all__ = ["BRAND_COLUMNS", "BrandPlan", "Plan", "compile_plan"]

Input: TypeAlias = Callable[[Request, VariableValues], Any]
Step: TypeAlias = Callable[[Connection, Request], Awaitable[None]]

BRAND_COLUMNS = ("id", "slug", "name", "zone", "now", "refreshed_at", "refresh_asked")


@dataclass(frozen=True)
class BrandPlan:
    """What is asked of one brand. ``row`` is which columns of its own are wanted."""

    slug: Arguments
    row: frozenset[str]
    inputs: Sequence[Input]
    steps: Sequence[Step]
    catalogs: Sequence[Catalog]
    write: Callable[[Any, Request], str]


@dataclass(frozen=True)
class Plan:
    """A document's answer: keys, and text or what a brand is asked."""

    parts: Sequence[tuple[str, str | BrandPlan]]

    @property
    def brands(self) -> Iterator[tuple[str, BrandPlan]]:
        """What is asked of brands."""
        return ((key, part) for key, part in self.parts if isinstance(part, BrandPlan))


def compile_plan(prepared: Prepared, flags: Mapping[str, bool]) -> Plan:
    """The plan of a document, its fields included and skipped by ``flags``; :class:`Unplanned` where there is none."""
    parts: list[tuple[str, str | BrandPlan]] = []
    for selected in prepared.select_root(flags):
        if selected.name == "__typename":
            parts.append((selected.key, f'"{prepared.root.name}"'))
        elif selected.name == "brand":
            field = prepared.root.fields["brand"]
            parts.append((selected.key, _Compiler(prepared, flags).brand(field, selected)))
        else:
            raise Unplanned
    return Plan(parts)


class _BrandColumns:
    def __init__(self) -> None:
        self.wanted: set[str] = set()

    def column(self, name: str) -> int:
        self.wanted.add(name)
        return BRAND_COLUMNS.index(name)


class _Compiler:
    """Makes the plan of one brand. In the code that it generates, ``r`` is a row and ``q`` the :class:`Request`."""

    def __init__(self, prepared: Prepared, flags: Mapping[str, bool]) -> None:
        self._prepared = prepared
        self._flags = flags
        self._code = Code()
        self._inputs: list[Input] = []
        self._steps: list[Step] = []
        self._catalogs: list[Catalog] = []
        self._known: dict[tuple[Columns, str], Shape] = {}
        self._shapes = 0

    def brand(self, field: GraphQLField, selected: Selected) -> BrandPlan:
        """What is asked of a brand."""
        type_ = _object(field)
        columns = _BrandColumns()
        template = self._template(type_, selected, BRAND, columns)
        write = self._code.function("r, q", f"return {template.code}")
        return BrandPlan(
            slug=Arguments(self._prepared, field, selected.nodes[0]),
            row=frozenset(columns.wanted),
            inputs=self._inputs,
            steps=self._steps,
            catalogs=self._catalogs,
            write=self._code.get(write),
        )

    def _node(
        self, field: GraphQLField, selected: Selected, columns: Columns, catalog: Catalog | None = None
    ) -> Template:
        """An object of a field's type."""
        type_ = _object(field)
        return self._template(type_, selected, FIELDS.get(type_.name, {}), columns, catalog)

    def _template(
        self,
        type_: GraphQLObjectType,
        selected: Selected,
        fields: Fields,
        columns: Columns,
        catalog: Catalog | None = None,
    ) -> Template:
        entries: list[tuple[str, str]] = []
        for each in self._prepared.select(type_, selected.nodes, self._flags):
            if each.name == "__typename":
                entries.append((each.key, repr(f'"{type_.name}"')))
            else:
                entries.append((each.key, self._field(type_, each, fields, columns, catalog)))
        return Template.of(entries)

    def _field(
        self, type_: GraphQLObjectType, selected: Selected, fields: Fields, columns: Columns, catalog: Catalog | None
    ) -> str:
        field = type_.fields[selected.name]
        declared = _declared(field, fields)
        match declared:
            case mapping.Column(name):
                return written(self._code, field.type, f"r[{columns.column(name)}]")
            case mapping.Shown(_, name, whose):
                return f"shown(q, r[{columns.column(whose)}], r[{columns.column(name)}])"
            case mapping.Named(_, kind, name) if isinstance(columns, Elements):
                person, kind_at, value = (columns.column(each) for each in (PERSON, kind, name))
                return f"quoted(q.personal.named(q.brand_id, r[{person}], r[{kind_at}], r[{value}]))"
            case mapping.Told(_, name) if isinstance(columns, Elements):
                person, known, text = (columns.column(each) for each in (PERSON, KNOWN, name))
                return f"told(q, (r[{person}], r[{known}]), r[{text}])"
            case mapping.Told(_, name, whose, listing):
                if (columns, whose) not in self._known:
                    self._known[columns, whose] = self._found_by(columns, whose, listing)
                    self._known[columns, whose].column("attributes")
                user = f"q.rows[{self._known[columns, whose].number}].get(r[{columns.column(whose)}])"
                return f"told(q, {user}, r[{columns.column(name)}])"
            case mapping.Global():
                number = columns.column("id")
                if isinstance(columns, _BrandColumns):
                    return f"global_id('Brand:%d' % r[{number}])"
                return f"global_id('{type_.name}:%d:%d' % (q.brand_id, r[{number}]))"
            case mapping.Known(name) if catalog:
                return f"r[0][{1 + catalog.columns.index(name)}]"
            case mapping.Why():
                return self._why(declared, columns, catalog)
            case mapping.Ended(_, why):
                otherwise = self._why(why, columns, catalog) if why else "'null'"
                merged = self._code.bind(quoted(MERGED))
                return f"({otherwise} if r[{columns.column('merge_id')}] is None else {merged})"
            case mapping.One(_, listing, name):
                return self._one(field, selected, listing, columns, name)
            case mapping.Several() if isinstance(columns, Shape):
                return self._several(field, selected, declared, columns)
            case mapping.Paged(_, scope, Listing(order=order)) if isinstance(columns, Shape):
                return self._pages_of_users(field, selected, scope, order, columns)
            case mapping.Paged(_, scope, None) if isinstance(columns, _BrandColumns):
                return self._pages_of_brand(field, selected, scope)
            case mapping.Whole() if isinstance(columns, _BrandColumns):
                return self._all(field, selected, declared)
            case mapping.Found() if isinstance(columns, _BrandColumns):
                return self._found(field, selected, declared)
        raise Unplanned

    def _why(self, why: mapping.Why, columns: Columns, catalog: Catalog | None) -> str:
        match why.key:
            case Column(name):
                key = f"r[{columns.column(name)}]"
            case Known(name) if catalog:
                key = f"r[0][{1 + len(catalog.columns) + catalog.columns.index(name)}]"
            case _:
                raise Unplanned
        track = f"r[{columns.column(why.track.name)}]" if why.track else "''"
        rule = f"q.rules[r[{columns.column(why.prefix + 'rulebook_id')}], {track}, {key}]"
        if why.part == "because":
            return f"{rule}.because(q, r[{columns.column(PERSON)}], r[{columns.column(why.prefix + 'why')}])"
        return f"{rule}.{why.part}"

    def _list(self, template: Template) -> str:
        """The name of a function that writes rows."""
        return self._code.function(
            "rows, q",
            "written = []",
            "for r in rows:",
            *(f"    {line}" for line in template.lines),
            "    written.append(text)",
            "return '[' + ','.join(written) + ']'",
        )

    def _one(self, field: GraphQLField, selected: Selected, listing: Listing[Any], columns: Columns, name: str) -> str:
        shape = self._found_by(columns, name, listing)
        write = self._one_row(field, selected, shape)
        return f"{write}(q.rows[{shape.number}].get(r[{columns.column(name)}]), q)"

    def _found_by(self, columns: Columns, name: str, listing: Listing[Any]) -> Shape:
        """The users whose numbers are in a column; their own comes first."""
        place = columns.column(name)
        if isinstance(columns, Shape):
            numbers: reading.Numbers = partial(reading.numbers_in_rows, columns, place)
        elif isinstance(columns, _Elements):
            numbers = columns.numbers(place)
        else:
            raise Unplanned
        shape = self._shape()
        shape.column("id")
        self._steps.append(reading.Found(shape, listing, numbers))
        return shape

    def _one_row(self, field: GraphQLField, selected: Selected, shape: Shape) -> str:
        template = self._node(field, selected, shape)
        return self._code.function("r, q", "if r is None: return 'null'", *template.lines, "return text")

    def _found(self, field: GraphQLField, selected: Selected, found: mapping.Found) -> str:
        shape = self._shape()
        shape.column("id")
        given = self._arguments(field, selected)

        async def step(connection: Connection, request: Request) -> None:
            number = await found.find(connection, request.brand_id, request.personal, **request.inputs[given])
            if number is None:
                raise Unplanned
            await reading.read_by_number(connection, request, shape, found.listing, [number])
            if not request.rows[shape.number]:
                raise Unplanned

        self._steps.append(step)
        write = self._one_row(field, selected, shape)
        return f"{write}(next(iter(q.rows[{shape.number}].values())), q)"

    def _all(self, field: GraphQLField, selected: Selected, whole: mapping.Whole) -> str:
        shape = self._shape()
        given = self._arguments(field, selected)
        template = self._node(field, selected, shape)
        self._steps.append(reading.All(shape, whole.listing, whole.order, whole.keep, given))
        return f"{self._list(template)}(q.rows[{shape.number}], q)"

    def _several(self, field: GraphQLField, selected: Selected, several: mapping.Several, shape: Shape) -> str:
        given = self._arguments(field, selected)
        elements = Elements()
        keys = [elements.column(name) for name in several.by]
        offset = _Shifted(elements) if several.catalog else elements
        template = self._node(field, selected, offset, several.catalog)
        only = elements.column(several.only) if several.only else None
        order = "" if several.catalog else f" ORDER BY {', '.join(several.by)}"
        places = shape.join(Joined(elements, several.table, order, several.theirs))
        names = ", ".join(f"a{n}" for n in range(len(places)))
        arrays = elements.zipped(places)
        row, condition = f"({names},)", ""
        if only is not None:
            argument = f"q.inputs[{given}].get({several.only!r})"
            condition = f" if {argument} in (None, a{only})"
        if several.catalog:
            key = f"a{keys[0]}" if len(keys) == 1 else f"({', '.join(f'a{key}' for key in keys)})"
            row = f"(q.catalogs[{self._catalog(several.catalog)}][{key}], {names})"
        rows = f"[{row} for {names}, in {arrays}{condition}]"
        if several.catalog:
            rows = f"sorted({rows})"
        return f"('[]' if r[{places[0]}] is None else {self._list(template)}({rows}, q))"

    def _pages_of_brand(self, field: GraphQLField, selected: Selected, scope: mapping.Scope) -> str:
        shape, page = self._shape(), len(self._inputs)
        self._inputs.append(partial(_page, self._read(field, selected), scope))
        at = len(self._steps)
        written = self._connection(field, selected, shape, page, total=f"whole(q.totals[{page}])", last=True)
        if written.counted:
            self._steps.insert(at, Counted(page))
        if written.paged:
            self._steps[at:at] = [Chosen(page), Paged(shape, page)]
        rows = f"q.rows[{shape.number}]" if written.paged else "()"
        return f"{written.function}({rows}, None, q)"

    def _pages_of_users(
        self, field: GraphQLField, selected: Selected, scope: mapping.Scope, order: Order, shape: Shape
    ) -> str:
        page = len(self._inputs)
        self._inputs.append(partial(_page, self._read(field, selected), scope))
        elements = _Elements(shape, page, order)
        written = self._connection(field, selected, elements, page, total="whole(total)")
        total = "None"
        if written.counted:
            total = f"r[{shape.count(Total(partial(all_of_user, page)))}]"
        rows = "()"
        if written.paged:
            if not elements.arrays:
                elements.column("id")
            places = shape.nest(Nested(elements, partial(rows_of_user, page)))
            elements.places[:] = places
            first = places[elements.arrays[0][0]]
            rows = f"(() if r[{first}] is None else list({elements.zipped(places)}))"
        return f"{written.function}({rows}, {total}, q)"

    def _connection(
        self, field: GraphQLField, selected: Selected, columns: Columns, page: int, *, total: str, last: bool = False
    ) -> _Connection:
        """The function that writes a connection from rows and their total; ``last`` where what rows are ordered by
        comes last in them."""
        type_ = _object(field)
        entries: list[tuple[str, str]] = []
        names = set()
        for each in self._prepared.select(type_, selected.nodes, self._flags):
            names.add(each.name)
            inner = type_.fields.get(each.name)
            match each.name:
                case "__typename":
                    value = repr(f'"{type_.name}"')
                case "nodes" if inner:
                    value = f"{self._list(self._node(inner, each, columns))}(rows, q)"
                case "edges" if inner:
                    value = f"{self._edges(inner, each, columns, page, last=last)}(rows, q)"
                case "pageInfo" if inner:
                    value = self._page_info(inner, each, columns, page, last=last)
                case "totalCount":
                    value = total
                case "asOf":
                    value = "('null' if page.as_of is None else f'\"{page.as_of.isoformat()}\"')"
                case _:
                    raise Unplanned
            entries.append((each.key, value))
        function = self._code.function(
            "rows, total, q",
            f"page = q.inputs[{page}]",
            "more = len(rows) > page.limit",
            "if more: rows = rows[:page.limit]",
            "if page.backward: rows = rows[::-1]",
            f"return {Template.of(entries).code}",
        )
        return _Connection(function, bool(names & {"nodes", "edges", "pageInfo", "asOf"}), "totalCount" in names)

    def _edges(self, field: GraphQLField, selected: Selected, columns: Columns, page: int, *, last: bool) -> str:
        type_ = _object(field)
        entries: list[tuple[str, str]] = []
        for each in self._prepared.select(type_, selected.nodes, self._flags):
            match each.name:
                case "__typename":
                    value = repr(f'"{type_.name}"')
                case "cursor":
                    value = self._cursor("r", columns, page, last=last)
                case "node":
                    value = self._node(type_.fields["node"], each, columns).code
                case _:
                    raise Unplanned
            entries.append((each.key, value))
        return self._list(Template.of(entries))

    def _page_info(self, field: GraphQLField, selected: Selected, columns: Columns, page: int, *, last: bool) -> str:
        type_ = _object(field)
        values = {
            "__typename": repr(f'"{type_.name}"'),
            "hasNextPage": "('true' if page.follows(more) else 'false')",
            "hasPreviousPage": "('true' if page.precedes(more) else 'false')",
            "startCursor": f"({self._cursor('rows[0]', columns, page, last=last)} if rows else 'null')",
            "endCursor": f"({self._cursor('rows[-1]', columns, page, last=last)} if rows else 'null')",
        }
        chosen = self._prepared.select(type_, selected.nodes, self._flags)
        if any(each.name not in values for each in chosen):
            raise Unplanned
        return Template.of([(each.key, values[each.name]) for each in chosen]).code

    def _cursor(self, row: str, columns: Columns, page: int, *, last: bool) -> str:
        if last:
            return f"q.inputs[{page}].cursor({row}[-len(q.inputs[{page}].order.columns):])"
        assert isinstance(columns, _Elements)
        places = ", ".join(f"{row}[{columns.column(name)}]" for name, _ in columns.order.columns)
        return f"q.inputs[{page}].cursor(({places},))"

    def _shape(self) -> Shape:
        self._shapes += 1
        return Shape(self._shapes)

    def _catalog(self, catalog: Catalog) -> int:
        if catalog not in self._catalogs:
            self._catalogs.append(catalog)
        return self._catalogs.index(catalog)

    def _read(self, field: GraphQLField, selected: Selected) -> Arguments:
        return Arguments(self._prepared, field, selected.nodes[0])

    def _arguments(self, field: GraphQLField, selected: Selected) -> int:
        read = self._read(field, selected)
        self._inputs.append(lambda _, variables: read.read(variables))
        return len(self._inputs) - 1


@dataclass(frozen=True)
class _Connection:
    function: str
    paged: bool
    counted: bool


class _Elements(Elements):
    """The columns of a page that hangs on each row of a shape; where its arrays are is known once all are."""

    def __init__(self, shape: Shape, page: int, order: Order) -> None:
        super().__init__()
        self.order = order
        self.places: list[int] = []
        self._shape = shape
        self._page = page

    def numbers(self, column: int) -> reading.Numbers:
        """The numbers that a column of what is shown names."""

        def numbers(request: Request) -> Iterator[int]:
            return reading.numbers_in_lists(self._shape, self.places[column], request.inputs[self._page].limit, request)

        return numbers


class _Shifted:
    """Columns of a list whose elements begin with their entry in a catalog."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    def column(self, name: str) -> int:
        return self._elements.column(name) + 1


def _object(field: GraphQLField) -> GraphQLObjectType:
    type_ = get_named_type(field.type)
    if not isinstance(type_, GraphQLObjectType):
        raise Unplanned
    return type_


def _declared(field: GraphQLField, fields: Fields) -> Field:
    made = definition(field)
    declared = fields.get(made.python_name) if made else None
    if made is None or declared is None or made.extensions:
        raise Unplanned
    resolver = made.base_resolver.wrapped_func if made.base_resolver else None
    if not isinstance(declared, mapping.Global) and resolver is not getattr(declared, "resolver", None):
        raise Unplanned
    return declared


def _page(read: Arguments, scope: mapping.Scope, request: Request, variables: VariableValues) -> Page:
    given = dict(read.read(variables))
    window = Window(*(given.pop(name, None) for name in Window._fields))
    try:
        return Page.of(*scope(request.brand_id, request.personal, **given), window)
    except (SiyuError, TypeError):
        raise Unplanned from None
