"""Answers from plans, for requests whose documents have one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from graphql.execution.values import VariableValues
from siyu import SiyuError
from siyu.flow.kept import Kept
from siyu.flow.tokens import Right
from siyu.store.db import Database
from siyu.telemetry import logs, tracing
from strawberry import Schema

from siyu_graphql.context import RequestContext
from siyu_graphql.errors import log
from siyu_graphql.ops.observed import label, observed
from siyu_graphql.plans.compiler import BRAND_COLUMNS, BrandPlan, Plan, compile_plan
from siyu_graphql.plans.document import Prepared, Unplanned
from siyu_graphql.plans.facts import Selected
from siyu_graphql.plans.mapping import Catalog
from siyu_graphql.plans.reading import AtHand, Request
from siyu_graphql.plans.recent import Bounded, Recent
from siyu_graphql.plans.writing import Rule, quoted

__all__ = ["FRESH_SECONDS", "Asked", "Plans"]

FRESH_SECONDS = 1.0
"""For how long the token of a request, the number of a brand and the titles of its tags are taken to be true still."""
MOST_DOCUMENTS = 500
MOST_PLANS = 16
"""So many plans of one document, which has one for each way in which parts of it can be left out."""
MOST_RULES = 20_000
SELECTION_BYTES = 64 * 2**20
"""Of who passes tests of facts; of five million users, one takes up to 40 MB."""
BRAND = (
    "SELECT id, slug, name, zone, replayed_to AS now, refreshed_at, refresh_asked,"
    " EXISTS (SELECT FROM merged_user m WHERE m.brand_id = b.id) AS merged FROM brand b WHERE slug = $1"
)
RULES = (
    "SELECT w.rulebook_id, w.track, w.key, v.version, CASE WHEN w.track = '' THEN v.content->'tags'->w.key"
    "  ELSE v.content->'tracks'->w.track->'stages'->w.key END AS reason"
    " FROM unnest($2::bigint[], $3::text[], $4::text[]) AS w (rulebook_id, track, key)"
    " JOIN rulebook_version v ON v.brand_id = $1 AND v.id = w.rulebook_id"
)
GONE = Rule(None, None)


@dataclass
class Counts:
    """How many requests were answered by a plan, and how many had none."""

    planned: int = 0
    ordinary: int = 0


@dataclass
class _Document:
    """A document that was seen, with its plans by what is included."""

    seen: int = 0
    prepared: Prepared | None = None
    plans: dict[tuple[bool, ...], Plan | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a client asks."""

    query: str
    operation: str | None
    variables: Mapping[str, Any]


class Plans:
    """The plans of a schema. Documents get one when they come again: those sent once cost nothing here."""

    def __init__(self, db: Database, schema: Schema, *, sightings: int = 2) -> None:
        self._db = db
        self._schema = schema
        self._sightings = sightings
        self._documents: Bounded[tuple[str, str | None], _Document] = Bounded(MOST_DOCUMENTS)
        self._brands: Recent[str, tuple[Any, ...] | None] = Recent(self._read_brand, FRESH_SECONDS)
        self._catalogs: Recent[tuple[int, Catalog], AtHand] = Recent(self._read_catalog, FRESH_SECONDS)
        self._rules: dict[int, AtHand] = {}
        self._selections: Kept[Any, Selected] = Kept(FRESH_SECONDS, SELECTION_BYTES, size=lambda each: each.size)
        self.counts = Counts()

    async def answer(self, context: RequestContext, asked: Asked) -> bytes | None:
        """The answer to a request; None where the ordinary path has to give it."""
        try:
            answer = await self._answer(context, asked)
        except Unplanned:
            answer = None
        except Exception:
            # The ordinary path then says what is wrong, if it is not the plan.
            log.exception("a plan failed")
            answer = None
        if answer is None:
            self.counts.ordinary += 1
        else:
            self.counts.planned += 1
        return answer

    def forget(self) -> None:
        """Read anew what is taken to be true still: something was changed."""
        self._brands.forget()
        self._catalogs.forget()
        self._selections.forget()

    async def _answer(self, context: RequestContext, asked: Asked) -> bytes:
        document = self._documents.get((asked.query, asked.operation))
        if document is None:
            document = _Document()
            self._documents.put((asked.query, asked.operation), document)
        began = time.perf_counter()
        plan, variables = self._plan(document, asked)
        assert document.prepared is not None
        context.begins(document.prepared.name, follows=False)
        name = label(document.prepared.name)
        about = {"graphql.operation.name": name, "graphql.operation.type": "query"}
        with tracing.span(f"query {name}", attributes=about):
            try:
                async with context.within():
                    # What will be refused is not paid for here.
                    brands = {key: await self._request(part, context, variables) for key, part in plan.brands}
                    cost = document.prepared.price.of(asked.variables)
                    await context.pay(cost)
                    try:
                        read = {key: await self._read(*brand) for key, brand in brands.items()}
                    except Exception:
                        context.give_back(cost)  # the ordinary path takes it
                        raise
            except SiyuError:
                raise Unplanned from None
        data = ",".join(f'"{key}":{read.get(key, part)}' for key, part in plan.parts)
        await context.note_personal()
        logs.bind(operation=name)
        observed(name, "query", time.perf_counter() - began)
        extensions = f',"extensions":{json.dumps({"cost": context.bill})}' if context.bill else ""
        return f'{{"data":{{{data}}}{extensions}}}'.encode()

    def _plan(self, document: _Document, asked: Asked) -> tuple[Plan, VariableValues]:
        document.seen += 1
        if document.seen < self._sightings:
            raise Unplanned
        if document.seen == self._sightings:
            document.prepared = Prepared(self._schema, asked.query, asked.operation)
        if document.prepared is None:
            raise Unplanned
        variables = document.prepared.variables(asked.variables)
        flags = tuple(bool(variables.coerced.get(name)) for name in document.prepared.flags)
        if flags not in document.plans:
            if len(document.plans) == MOST_PLANS:
                raise Unplanned
            document.plans[flags] = None
            document.plans[flags] = compile_plan(
                document.prepared, dict(zip(document.prepared.flags, flags, strict=True))
            )
        plan = document.plans[flags]
        if plan is None:
            raise Unplanned
        return plan, variables

    async def _request(
        self, plan: BrandPlan, context: RequestContext, variables: VariableValues
    ) -> tuple[BrandPlan, tuple[Any, ...], Request]:
        """What a brand is asked, with the brand's own row."""
        slug = plan.slug.read(variables)["slug"]
        if not (slug.isprintable() and context.access.may(Right.READ)):
            raise Unplanned
        row = await (self._brands.get(slug) if plan.row <= {"id", "slug"} else self._read_brand(slug))
        if row is None or not context.access.sees(row[0]):
            raise Unplanned
        logs.bind(brand=slug)
        context.brands[slug] = row[0]
        request = Request(context.ctx, self._selections, row[0], row[-1], context.personal)
        request.inputs += [read(request, variables) for read in plan.inputs]
        return plan, row, request

    async def _read(self, plan: BrandPlan, row: tuple[Any, ...], request: Request) -> str:
        """A brand's answer."""
        brand_id = request.brand_id
        request.catalogs = [await self._catalogs.get((brand_id, each)) for each in plan.catalogs]
        request.rules = self._rules.setdefault(brand_id, AtHand(GONE))
        if plan.steps:
            async with self._db.reading() as connection:
                for step in plan.steps:
                    await step(connection, request)
        text = _written(plan, row, request)
        if text is None:
            await self._complete(plan, request)
            text = _written(plan, row, request)
        if text is None:
            raise Unplanned
        return text

    async def _complete(self, plan: BrandPlan, request: Request) -> None:
        """Read what was not at hand."""
        if any(each.missing for each in request.catalogs):
            self._catalogs.forget()
            request.catalogs = [await self._catalogs.get((request.brand_id, each)) for each in plan.catalogs]
        if request.rules.missing:
            await self._read_rules(request)

    async def _read_brand(self, slug: str) -> tuple[Any, ...] | None:
        async with self._db.reading() as connection:
            row = await connection.fetchrow(BRAND, slug)
        if row is None:
            return None
        found = dict(row)
        found["now"] = found["now"] or f'"{datetime.now(UTC).isoformat()}"'
        return tuple(found[name] for name in (*BRAND_COLUMNS, "merged"))

    async def _read_catalog(self, key: tuple[int, Catalog]) -> AtHand:
        brand_id, catalog = key
        async with self._db.reading() as connection:
            rows = await connection.fetch(catalog.sql, brand_id)
        found = AtHand((0, *[""] * (2 * len(catalog.columns))))
        for rank, row in enumerate(rows):
            values = [row[column] for column in catalog.columns]
            key_of = tuple(row[column] for column in catalog.keys)
            found[key_of if len(key_of) > 1 else key_of[0]] = (rank, *map(quoted, values), *values)
        return found

    async def _read_rules(self, request: Request) -> None:
        wanted = list(request.rules.missing)
        async with self._db.reading() as connection:
            rows = await connection.fetch(RULES, request.brand_id, *map(list, zip(*wanted, strict=True)))
        kept = request.rules
        if len(kept) > MOST_RULES:
            kept.clear()
        for row in rows:
            reason = json.loads(row["reason"]) if row["reason"] else None
            kept[row["rulebook_id"], row["track"], row["key"]] = Rule(row["version"], reason, request.personal.declared)
        if any(key not in kept for key in wanted):
            # A version that is not kept now is not remembered as such.
            request.rules = AtHand(GONE, {**dict.fromkeys(wanted, GONE), **kept})


def _written(plan: BrandPlan, row: tuple[Any, ...], request: Request) -> str | None:
    """The answer, unless something is not at hand."""
    used = [*request.catalogs, request.rules]
    for each in used:
        each.missing.clear()
    text = plan.write(row, request)
    return None if any(each.missing for each in used) else text
