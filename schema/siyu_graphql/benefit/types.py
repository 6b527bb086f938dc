"""Benefits as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.action.types import Action
from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import After, Before, Connection, First, Last, Term, Window, of_brand, one

if TYPE_CHECKING:
    from siyu_graphql.user.types import User

__all__ = ["Benefit", "BenefitPayload", "Grant"]


@strawberry.type(description="Something to give: a coupon, a gift. Playbooks give it by its key, while there are any.")
class Benefit(BrandNode):
    key: str = strawberry.field(description="Its key, which a step `Grant` names.")
    title: str = strawberry.field(description="What people call it.")
    stock: int = strawberry.field(description="How many there are in all, those that are given included.")
    given: int = strawberry.field(description="How many are given.")
    days: int | None = strawberry.field(description="For how many days one is good; null: for good.")

    @computed("How many there are still to give.")
    def left(self) -> int:
        return self.stock - self.given

    @computed("To whom it was given, the latest first.")
    async def grants(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Grant]:
        from siyu_graphql.benefit.queries import GRANTS

        mine = Term("t.benefit = {}", (self.key,))
        return of_brand(info, self.brand_id, GRANTS, Window(first, after, last, before), mine)


@strawberry.type(description="A benefit that a user was given, by an action, once.")
class Grant(BrandNode):
    user_id: strawberry.Private[int]
    action_id: strawberry.Private[int]
    of: strawberry.Private[str]
    code: str = strawberry.field(description="What they show for it.")
    at: datetime = strawberry.field(description="When it was given.")
    expires_at: datetime | None = strawberry.field(description="Until when it is good; null: for good.")

    @computed("What was given.")
    async def benefit(self, info: Info) -> Benefit | None:
        from siyu_graphql.benefit.queries import benefit_named

        return await benefit_named(info, self.brand_id, self.of)

    @computed("The action that gave it.")
    async def action(self, info: Info) -> Action | None:
        return await one(info, ACTIONS, self.brand_id, self.action_id)

    @computed("To whom.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))


@strawberry.type(description="The benefit after the change.")
class BenefitPayload(Payload):
    benefit: Benefit | None = strawberry.field(default=None, description="The benefit; null where it was refused.")
