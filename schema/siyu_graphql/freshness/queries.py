"""How freshness is read: for all tags or stages of a brand in one statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import cast

import strawberry
from siyu.flow import freshness
from siyu.store.db import Connection

from siyu_graphql.context import Info
from siyu_graphql.freshness.types import Freshness
from siyu_graphql.loading import Batch
from siyu_graphql.nodes import BrandNode

__all__ = ["freshness_of_stage", "freshness_of_tag"]

Read = Callable[[Connection, int], Awaitable[dict[int, freshness.Freshness]]]


async def freshness_of_tag(tag: strawberry.Parent[BrandNode], info: Info) -> Freshness:
    return cast(Freshness, await info.context.loaders.load(_tags, tag.brand_id, tag.number))


async def freshness_of_stage(stage: strawberry.Parent[BrandNode], info: Info) -> Freshness:
    return cast(Freshness, await info.context.loaders.load(_stages, stage.brand_id, stage.number))


def _shown(read: Read) -> Batch[Freshness]:
    async def batch(connection: Connection, brand_id: int, _: Sequence[int]) -> dict[int, Freshness]:
        found = await read(connection, brand_id)
        return {id: Freshness(brand_id=brand_id, **asdict(each)) for id, each in found.items()}

    return batch


_tags, _stages = _shown(freshness.of_tags), _shown(freshness.of_stages)
