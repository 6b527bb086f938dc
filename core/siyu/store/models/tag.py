"""Tags, who has them, and who had them.

The ids of current and closed assignments (and of stages) come from one sequence in the order of writing, so that
"what changed since" is one number for all of them.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Tag(Model):
    """A tag of a brand; ``users`` is how many have it, ``as_of`` when all were last looked at.

    ``gained`` and ``lost`` are how many users got and lost it in that run.
    """

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    key = fields.CharField(max_length=80)
    title = fields.CharField(max_length=200)
    plugin = fields.CharField(max_length=80)
    active = fields.BooleanField(default=True)
    users = fields.BigIntField(default=0)
    as_of = fields.DatetimeField(null=True)
    run_id = fields.BigIntField(null=True)
    gained = fields.BigIntField(default=0, db_default=0)
    lost = fields.BigIntField(default=0, db_default=0)

    class Meta:
        table = "tag"
        unique_together = (("brand_id", "key"),)


class TagAssignment(Model):
    """A user has a tag now. ``why`` is a JSON array of the facts that the reason names."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    tag_id = fields.IntField()
    since = fields.DatetimeField()
    rulebook_id = fields.BigIntField()
    why = fields.TextField()

    class Meta:
        table = "tag_assignment"


class TagHistory(Model):
    """A user had a tag ``since`` one moment ``until`` another; ``held_id`` was the id of the assignment.

    ``merge_id`` is the merge that ended it, where one did: undone, it gives back what it ended.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    tag_id = fields.IntField()
    since = fields.DatetimeField()
    until = fields.DatetimeField()
    held_id = fields.BigIntField(default=0, db_default=0)
    merge_id = fields.BigIntField(null=True)
    rulebook_id = fields.BigIntField()
    why = fields.TextField()
    ended_rulebook_id = fields.BigIntField()
    ended_why = fields.TextField()

    class Meta:
        table = "tag_history"
