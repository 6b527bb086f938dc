"""Brands: everything else belongs to one."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault
from tortoise.models import Model

MOST_LETTERS = 60
"""Of a slug."""


class Brand(Model):
    """A brand.

    ``replayed_to`` is the moment that a brand of replayed data lives at; null is the present. ``rulebooks`` are pairs
    of a bucket of users and the rulebook that those below it were last decided by. ``refresh_asked`` is when somebody
    last asked for a refresh that has not been made. ``listens`` are the kinds of events, the tags and the tracks that
    playbooks wait for, ``voice`` is how messages speak.
    """

    id = fields.IntField(primary_key=True)
    slug = fields.CharField(max_length=MOST_LETTERS, unique=True)
    name = fields.CharField(max_length=200)
    zone = fields.CharField(max_length=60, default="Asia/Shanghai")
    replayed_to = fields.DatetimeField(null=True)
    rulebooks: fields.Field[list[list[int]]] = fields.JSONField(default=list, db_default=SqlDefault("'[]'"))
    listens: fields.Field[dict[str, list[str]]] = fields.JSONField(default=dict, db_default=SqlDefault("'{}'"))
    voice: fields.Field[dict[str, Any]] = fields.JSONField(default=dict, db_default=SqlDefault("'{}'"))
    refresh_asked = fields.DatetimeField(null=True)
    refreshed_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "brand"

    @classmethod
    async def named(cls, slug: str) -> Brand | None:
        """The brand of that slug, if there is one. Tortoise and the driver raise for texts that none can be."""
        return await cls.get_or_none(slug=slug) if slug.isprintable() and len(slug) <= MOST_LETTERS else None
