"""The attributes that plugins declare, read from the profiles of users as rules read them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from siyu.contract.facts import Attribute
from siyu.engine.finish import attribute
from siyu.flow.context import Context
from siyu.flow.plugins import cohorts

__all__ = ["attributes_of_users"]


async def attributes_of_users(
    ctx: Context, brand_id: int, users: Sequence[int], plugin: str
) -> dict[int, Mapping[str, Any]]:
    """The attributes that a plugin declares, by name, of those of ``users`` for whom it is on; None where missing."""
    on = [each for each in await cohorts(ctx, brand_id) if any(found.name == plugin for found, _ in each.on)]
    wanted = [user for user in users if any(user in cohort for cohort in on)]
    if not wanted:
        return {}
    declared = [Attribute(kind.name, kind.values, type=kind.type) for kind in ctx.plugins.get(plugin).attributes]
    async with ctx.db.connection() as connection:
        rows = await connection.fetch(
            "SELECT id, attributes FROM users WHERE brand_id = $1 AND id = ANY($2::bigint[])", brand_id, wanted
        )
    known = [(row["id"], json.loads(row["attributes"])) for row in rows]
    frame = pl.DataFrame(
        {"user_id": [user for user, _ in known]}
        | {str(n): [texts.get(each.attribute) for _, texts in known] for n, each in enumerate(declared)},
        schema={"user_id": pl.Int64} | {str(n): pl.String for n in range(len(declared))},
    )
    read = [attribute(each, pl.col(str(n))).alias(str(n)) for n, each in enumerate(declared)]
    found = await asyncio.to_thread(frame.select, "user_id", *read)
    return {
        row["user_id"]: {each.attribute: row[str(n)] for n, each in enumerate(declared)}
        for row in found.iter_rows(named=True)
    }
