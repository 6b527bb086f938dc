"""Tea house: what guests have tasted and how they liked it, asked and told over GraphQL."""

import uuid
from typing import Annotated

import siyu
import strawberry
from siyu import EventKind, Field, InputError, hookimpl
from siyu_graphql import (
    Contribution,
    IncomingEvent,
    Info,
    Payload,
    Right,
    computed,
    is_on,
    mutation,
    record_events,
    visible_brand,
)

TASTES = """SELECT i.value AS member, e.payload->>'tea' AS tea, count(*) AS times,
    avg((e.payload->>'stars')::int)::float AS stars
FROM identity i JOIN event e ON e.brand_id = $1 AND e.user_id = i.user_id AND e.kind = 'teahouse.tasted'
WHERE i.brand_id = $1 AND i.kind = 'member' AND i.value = ANY($2::text[])
GROUP BY 1, 2 ORDER BY 1, 4 DESC, 2
"""
MOST = 100
Slug = Annotated[str, strawberry.argument(description="The slug of the brand.")]


class Tasted(siyu.Payload):
    tea: str = Field(min_length=1, max_length=100)
    stars: int = Field(ge=1, le=5)


@strawberry.type(description="How a guest likes a tea.")
class Taste:
    tea: str = strawberry.field(description="The tea.")
    times: int = strawberry.field(description="How often the guest has tasted it.")
    stars: float = strawberry.field(description="The mean of the stars that the guest gave, 1 to 5.")


@strawberry.type(description="A guest of the tea house.")
class Guest:
    brand_id: strawberry.Private[int]
    member: str = strawberry.field(description="The member number.")

    @computed("The teas that the guest has tasted, the best first.")
    async def tastes(self, info: Info) -> list[Taste]:
        return await info.context.loaders.load(tastes_of, self.brand_id, self.member) or []


async def tastes_of(connection, brand_id, members):
    """Batch: the tastes of all guests of a request, in one statement."""
    found = {}
    for row in await connection.fetch(TASTES, brand_id, members):
        taste = Taste(tea=row["tea"], times=row["times"], stars=row["stars"])
        found.setdefault(row["member"], []).append(taste)
    return found


@strawberry.type
class TeahouseQueries:
    @computed("Guests of the tea house, by member number. Null where the brand has the plugin off.", cost=MOST)
    async def guests(
        self,
        info: Info,
        brand: Slug,
        members: Annotated[list[str], strawberry.argument(description=f"At most {MOST} member numbers.")],
    ) -> list[Guest] | None:
        found = await visible_brand(info, brand)
        if len(members) > MOST:
            raise InputError(f"{len(members)} members", field="members", remedy=f"ask for at most {MOST}")
        return [Guest(brand_id=found.id, member=each) for each in members] if await is_on(found, "teahouse") else None


@strawberry.type(description="What became of a tasting.")
class TastingPayload(Payload):
    guest: Guest | None = strawberry.field(default=None, description="The guest; null where it was refused.")


@strawberry.type
class TeahouseMutations:
    @mutation(Right.RECORD, TastingPayload, "Note how a guest likes a tea. Rules see it as an event of the guest.")
    async def taste(
        self,
        info: Info,
        brand: Slug,
        member: Annotated[str, strawberry.argument(description="The member number.")],
        tea: Annotated[str, strawberry.argument(description="The tea.")],
        stars: Annotated[int, strawberry.argument(description="1 to 5.")],
    ) -> TastingPayload | None:
        found = await visible_brand(info, brand)
        if not await is_on(found, "teahouse"):
            raise InputError("the plugin is off", field="brand", remedy="switch it on: enablePlugin")
        event = IncomingEvent(uuid.uuid4().hex, "teahouse.tasted", {"member": member}, {"tea": tea, "stars": stars})
        recorded = await record_events(info, found, [event])
        for refused in recorded.rejected:
            raise InputError(refused.message, field=refused.field, remedy=refused.remedy)
        return TastingPayload(guest=Guest(brand_id=found.id, member=member))


@hookimpl
def siyu_event_kinds():
    return [EventKind("teahouse.tasted", "品茶", Tasted)]


@hookimpl
def siyu_graphql_types():
    return Contribution(query=TeahouseQueries, mutation=TeahouseMutations)
