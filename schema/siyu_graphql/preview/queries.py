"""How changes are previewed and the past is replayed.

Whoever may not set a plugin has no use for what setting it would do, and it costs as much as a refresh: it needs the
right to configure. A replay of the rules as they are is reading.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from siyu import InputError
from siyu.flow.context import brand_by_id, now
from siyu.flow.preview import moments, preview, replay
from siyu.flow.tokens import Right

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.preview.types import PluginPreview, Replay
from siyu_graphql.scalars import JSON, checked_json

__all__ = ["preview_of_plugin", "replay_of_brand"]

MOST_MOMENTS = 60
MOST_SAMPLES = 50

Enabled = Annotated[bool | None, strawberry.argument(description="Whether it is to be on; as it is now if left out.")]
Params = Annotated[
    JSON | None, strawberry.argument(description="All its parameters, as in `paramsSchema`; as they are if left out.")
]
PluginName = Annotated[str, strawberry.argument(description="The name of the plugin: `rfm`.")]
Samples = Annotated[int, strawberry.argument(description="How many users to name of each who enter or leave, 0 to 50.")]
Percent = Annotated[
    int, strawberry.argument(description="For how many of 100 users the change would hold, always the same ones.")
]
Compared = Annotated[
    str | None,
    strawberry.argument(description="Compare with other settings of this plugin, which needs the right to configure."),
]
Since = Annotated[datetime, strawberry.argument(description="The first moment may not be earlier.")]
Until = Annotated[datetime | None, strawberry.argument(description="The last moment; the brand's present if left out.")]
EveryDays = Annotated[
    int, strawberry.argument(description="Days between two moments, counted back from the last. At most 60 moments.")
]


async def preview_of_plugin(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    plugin: PluginName,
    enabled: Enabled = None,
    params: Params = None,
    percent: Percent = 100,
    samples: Samples = 5,
) -> PluginPreview | None:
    info.context.access.require(Right.CONFIGURE)
    if not 0 <= samples <= MOST_SAMPLES:
        raise InputError(f"samples: {samples}", field="samples", remedy=f"ask for 0 to {MOST_SAMPLES}")
    values = None if params is None else checked_json(params, "params")
    row = await brand_by_id(brand.brand_id)
    found = await preview(
        info.context.ctx,
        row,
        plugin,
        enabled=enabled,
        params=values,
        percent=percent,
        samples=samples,
        most=_most(info),
    )
    return PluginPreview.of(brand.brand_id, found)


async def replay_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    since: Since,
    until: Until = None,
    every_days: EveryDays = 7,
    plugin: Compared = None,
    enabled: Enabled = None,
    params: Params = None,
    percent: Percent = 100,
) -> Replay | None:
    info.context.access.require(Right.READ if plugin is None else Right.CONFIGURE)
    if not 1 <= every_days <= 3660:
        raise InputError(f"everyDays: {every_days}", field="everyDays", remedy="ask for 1 to 3660")
    row, every = await brand_by_id(brand.brand_id), timedelta(days=every_days)
    if (asked := len(moments(since, until or now(row), every))) > MOST_MOMENTS:
        raise InputError(
            f"{asked} moments",
            field="everyDays",
            remedy=f"ask for at most {MOST_MOMENTS}: a shorter time, longer steps",
        )
    values = None if params is None else checked_json(params, "params")
    found = await replay(
        info.context.ctx,
        row,
        plugin,
        enabled=enabled,
        params=values,
        percent=percent,
        since=since,
        until=until,
        every=every,
        most=_most(info),
    )
    return Replay.of(found)


def _most(info: Info) -> float:
    """Seconds that a rule may take, of today's and of the proposed: the end of the operation would not say which it
    was."""
    return info.context.settings.operation_seconds / 4
