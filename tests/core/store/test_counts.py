"""How many users a brand has is known without counting them."""

from __future__ import annotations

import asyncio

from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.store import counts
from siyu.store.models import Brand, UserCount


async def known(ctx: Context, brand: Brand) -> int:
    async with ctx.db.connection() as connection:
        counted = await connection.fetchval("SELECT count(*) FROM users WHERE brand_id = $1", brand.id)
        found = await connection.fetchval(counts.USERS, brand.id)
    assert found == counted
    return int(found)


def order(number: int, member: int) -> IncomingEvent:
    return IncomingEvent(f"o{number}", "order.paid", {"member": str(member)}, {"amount": 1})


async def test_every_way_in_and_out_is_counted(ctx: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other")
    assert await known(ctx, brand) == 0
    await record(ctx, brand, [order(1, 1), order(2, 2), order(3, 1)])
    await record(ctx, other, [order(1, 1)])
    await asyncio.gather(*(record(ctx, brand, [order(10 + n, n % 4)]) for n in range(8)))
    assert (await known(ctx, brand), await known(ctx, other)) == (4, 1)
    async with ctx.db.connection() as connection:
        await connection.execute("DELETE FROM users WHERE brand_id = $1", other.id)
    assert (await known(ctx, brand), await known(ctx, other)) == (4, 0)


async def test_many_rows_are_put_together_also_by_several_at_once(ctx: Context, brand: Brand) -> None:
    await UserCount.bulk_create([UserCount(brand_id=brand.id, users=1) for _ in range(counts.MANY + 1)])
    few = await Brand.create(slug="few", name="Few")
    await UserCount.bulk_create([UserCount(brand_id=few.id, users=1) for _ in range(3)])

    async def fold() -> None:
        async with ctx.db.connection() as connection:
            await counts.fold(connection)

    await asyncio.gather(*(fold() for _ in range(4)))
    assert [row.users for row in await UserCount.filter(brand_id=brand.id)] == [counts.MANY + 1]
    assert await UserCount.filter(brand_id=few.id).count() == 3
