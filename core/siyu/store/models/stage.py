"""Stages of tracks, where users stand, and where they stood."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Stage(Model):
    """A stage of a track of a brand, in the order of ``position``.

    ``as_of`` is when all users were last looked at, ``gained`` and ``lost`` how many entered and left it in that run.
    """

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    track = fields.CharField(max_length=80)
    key = fields.CharField(max_length=80)
    title = fields.CharField(max_length=200)
    plugin = fields.CharField(max_length=80)
    position = fields.IntField()
    active = fields.BooleanField(default=True)
    users = fields.BigIntField(default=0)
    as_of = fields.DatetimeField(null=True)
    run_id = fields.BigIntField(null=True)
    gained = fields.BigIntField(default=0, db_default=0)
    lost = fields.BigIntField(default=0, db_default=0)

    class Meta:
        table = "stage"
        unique_together = (("brand_id", "track", "key"),)


class UserStage(Model):
    """Where a user stands in a track."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    track = fields.CharField(max_length=80)
    stage = fields.CharField(max_length=80)
    since = fields.DatetimeField()
    rulebook_id = fields.BigIntField()
    why = fields.TextField()

    class Meta:
        table = "user_stage"


class StageHistory(Model):
    """Where a user stood, ``since`` one moment ``until`` another; ``held_id`` was the id of the row while they did.

    ``merge_id`` is the merge that ended it, where one did: undone, it gives back what it ended.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    track = fields.CharField(max_length=80)
    stage = fields.CharField(max_length=80)
    since = fields.DatetimeField()
    until = fields.DatetimeField()
    held_id = fields.BigIntField(default=0, db_default=0)
    merge_id = fields.BigIntField(null=True)
    rulebook_id = fields.BigIntField()
    why = fields.TextField()

    class Meta:
        table = "stage_history"
