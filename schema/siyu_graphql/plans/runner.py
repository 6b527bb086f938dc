"""Answers from plans, for requests whose documents have one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from graphql.execution.values import VariableValues
from siyu.flow.tokens import Access
from siyu.store.db import Database
from siyu.telemetry import logs, tracing
from strawberry import Schema

from siyu_graphql.context import RequestContext, TooLarge
from siyu_graphql.errors import log
from siyu_graphql.ops.observed import label, observed
from siyu_graphql.plans.compiler import BRAND_COLUMNS, BrandPlan, Plan, compile_plan
from siyu_graphql.plans.document import Prepared, Unplanned
from siyu_graphql.plans.mapping import Catalog
from siyu_graphql.plans.reading import AtHand, Request
from siyu_graphql.plans.recent import Bounded, Recent
from siyu_graphql.plans.writing import Rule, quoted

__all__ = ["FRESH_SECONDS", "Plans"]

FRESH_SECONDS = 1.0
"""For how long the token of a request, the number of a brand and the titles of its tags are taken to be true still."""
MOST_DOCUMENTS = 500
MOST_PLANS = 16
"""So many plans of one document, which has one for each way in which parts of it can be left out."""
MOST_RULES = 20_000
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
        self.counts = Counts()

    async def answer(self, context: RequestContext, body: Mapping[str, Any]) -> bytes | None:
        """The answer to the body of a request; None where the ordinary path has to give it."""
        try:
            answer = await self._answer(context, body)
        except (Unplanned, TooLarge):
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

    async def _answer(self, context: RequestContext, body: Mapping[str, Any]) -> bytes | None:
        query, operation, given = body.get("query"), body.get("operationName"), body.get("variables")
        if not isinstance(query, str) or not isinstance(operation, str | None) or not isinstance(given, dict | None):
            return None
        if body.get("extensions"):
            return None
        document = self._documents.get((query, operation))
        if document is None:
            document = _Document()
            self._documents.put((query, operation), document)
        began = time.perf_counter()
        plan, variables = self._plan(document, query, operation, given or {})
        assert document.prepared is not None
        await context.pay(document.prepared.price.of(given))
        name = label(document.prepared.name)
        with tracing.span(
            f"query {name}", attributes={"graphql.operation.name": name, "graphql.operation.type": "query"}
        ):
            parts = []
            async with asyncio.timeout(context.settings.operation_seconds):
                for key, part in plan.parts:
                    text = part if isinstance(part, str) else await self._brand(part, context.access, variables)
                    parts.append(f'"{key}":{text}')
        logs.bind(operation=name)
        observed(name, "query", time.perf_counter() - began)
        bill = json.dumps(context.bill, separators=(",", ":"))
        return f'{{"data":{{{",".join(parts)}}},"extensions":{{"cost":{bill}}}}}'.encode()

    def _plan(
        self, document: _Document, query: str, operation: str | None, given: Mapping[str, Any]
    ) -> tuple[Plan, VariableValues]:
        document.seen += 1
        if document.seen < self._sightings:
            raise Unplanned
        if document.seen == self._sightings:
            document.prepared = Prepared(self._schema, query, operation)
        if document.prepared is None:
            raise Unplanned
        variables = document.prepared.variables(given)
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

    async def _brand(self, plan: BrandPlan, access: Access, variables: VariableValues) -> str:
        slug = plan.slug.read(variables)["slug"]
        if not slug.isprintable():
            raise Unplanned
        row = await (self._brands.get(slug) if plan.row <= {"id", "slug"} else self._read_brand(slug))
        if row is None or not access.sees(row[0]):
            raise Unplanned
        logs.bind(brand=slug)
        brand_id: int = row[0]
        request = Request(brand_id, row[-1], [read(brand_id, variables) for read in plan.inputs])
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
            kept[row["rulebook_id"], row["track"], row["key"]] = Rule(row["version"], reason)
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
