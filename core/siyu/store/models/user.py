"""Users of a brand, the identities that they are known by, and which of them are one person."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class User(Model):
    """One person, as one brand knows them. ``attributes`` are the latest values that events gave."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    attributes: fields.Field[dict[str, str]] = fields.JSONField(default=dict)
    first_seen = fields.DatetimeField()
    last_seen = fields.DatetimeField()

    class Meta:
        table = "users"


class Identity(Model):
    """A name that a user goes by somewhere: a member number, an openid, a phone, ..."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    kind = fields.CharField(max_length=40)
    value = fields.CharField(max_length=200)
    user_id = fields.BigIntField()
    # Nothing arrives there any more: messages came back for good.
    dead_since = fields.DatetimeField(null=True)

    class Meta:
        table = "identity"


class UserMerge(Model):
    """Two users are one person: who says so, when, why, and by which identities (``names``: of the one, of the other).

    ``by`` is the event that named both, or who merged them by hand. What is undone counts no longer.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    other_id = fields.BigIntField()
    at = fields.DatetimeField(auto_now_add=True)
    by = fields.CharField(max_length=300)
    reason = fields.TextField(default="")
    names: fields.Field[list[Any]] = fields.JSONField(default=list)
    undone_at = fields.DatetimeField(null=True)
    undone_by = fields.CharField(max_length=300, null=True)

    class Meta:
        table = "user_merge"
        indexes = (("brand_id", "id"), ("brand_id", "user_id"))


class MergedUser(Model):
    """A user who counts as another, who was known before (``into_id``), since a merge. Follows from the merges."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    into_id = fields.BigIntField()
    merge_id = fields.BigIntField()

    class Meta:
        table = "merged_user"
        unique_together = (("brand_id", "user_id"),)
        indexes = (("brand_id", "into_id"),)


class UserCount(Model):
    """By how many users a brand grew; all of a brand together are how many it has."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    users = fields.BigIntField()

    class Meta:
        table = "user_count"
        indexes = (("brand_id",),)
