"""Users merged and parted by hand. Events that prove two users to be one merge them by themselves
(:mod:`siyu.flow.identities`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from siyu.contract.errors import InputError, NotFound
from siyu.flow.context import Context
from siyu.flow.identities import MOST_USERS, evidence
from siyu.store import merges
from siyu.store.decisions import lock
from siyu.store.models import Brand, UserMerge

__all__ = ["Parted", "merge_users", "unmerge_users"]

MOST_LETTERS = 500


@dataclass(frozen=True)
class Parted:
    """A merge that was undone, and whom its two users count as now."""

    merge: UserMerge
    users: tuple[int, int]


async def merge_users(
    ctx: Context,
    brand: Brand,
    one: int,
    other: int,
    *,
    by: str,
    reason: str = "",
    force: bool = False,
) -> UserMerge:
    """Say that two users of a brand are one person. The one who was known first stands for both from then on.

    Where each has a name of a kind of which a person has only one, it takes ``force``.
    """
    if len(reason) > MOST_LETTERS:
        raise InputError(f"{len(reason)} letters", field="reason", remedy=f"use at most {MOST_LETTERS}")
    async with ctx.db.transaction() as connection:
        await merges.alone(connection, brand.id)
        known = await connection.fetch(
            "SELECT id FROM users WHERE brand_id = $1 AND id = ANY($2::bigint[])", brand.id, [one, other]
        )
        for field, user in (("user", one), ("other", other)):
            if user not in {row["id"] for row in known}:
                raise NotFound(f"the brand has no user {user}", field=field)
        whom = await merges.persons(connection, brand.id, [one, other])
        if whom[one] == whom[other]:
            raise InputError(f"{one} and {other} are one user already", field="other", remedy="name two users")
        against = await evidence(connection, brand.id, set(whom.values()), ctx.plugins.identity_kinds)
        if sum(against.users.values()) > MOST_USERS:
            raise InputError(
                f"more than {MOST_USERS} users in one", field="other", remedy="see which merges are right, undo others"
            )
        # That they were parted before is no conflict: whoever merges by hand may know better now.
        against.undone.clear()
        conflict = against.conflict(sorted(whom.values()))
        if conflict and not force:
            raise InputError(conflict[0], field="force", remedy="use force if they are one person all the same")
        merge_id = await merges.merge(connection, brand.id, one, other, by=by, reason=reason)
    return await UserMerge.get(id=merge_id)


async def unmerge_users(ctx: Context, brand: Brand, merge_id: int, *, by: str) -> Parted:
    """Undo a merge, whichever came after it: events and names are those of the users that they came to, decisions that
    the merge ended are given back, and both are decided anew. No event merges them again."""
    async with ctx.db.transaction() as connection:
        # In this order: whoever decides never waits for events while holding decisions.
        await lock(connection, brand.id)
        await merges.alone(connection, brand.id)
        row = await connection.fetchrow(
            "SELECT user_id, other_id, undone_at, undone_by FROM user_merge WHERE brand_id = $1 AND id = $2",
            brand.id,
            merge_id,
        )
        if row is None:
            raise NotFound(f"the brand has no merge {merge_id}", field="merge")
        if row["undone_at"] is not None:
            raise InputError(
                f"merge {merge_id} was undone by {row['undone_by']} on {row['undone_at']:%Y-%m-%d %H:%M}",
                field="merge",
                remedy="name one that stands",
            )
        await connection.execute(
            "UPDATE user_merge SET undone_at = $3, undone_by = $4 WHERE brand_id = $1 AND id = $2",
            brand.id,
            merge_id,
            datetime.now(UTC),
            by,
        )
        users = await merges.unmerge(connection, brand.id, row["user_id"], row["other_id"])
    await ctx.db.signals.tell(brand.id, "decision")
    return Parted(await UserMerge.get(id=merge_id), users)
