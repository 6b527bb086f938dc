"""Changes as they are followed."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class ChangeBatch(Model):
    """The same change of many: of users in a tag (``noun`` tag: its key ``after`` gaining it, ``before`` losing it) or
    in a ``track`` (stage), or of actions in their status. Its table also has their ``ids``.

    Of each brand and noun, ids are in the order of commits. A batch without ``ids`` marks where older ones were.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    noun = fields.CharField(max_length=10)
    track = fields.CharField(max_length=80, null=True)
    before = fields.CharField(max_length=80, null=True)
    after = fields.CharField(max_length=80, null=True)
    at = fields.DatetimeField()
    written_at = fields.DatetimeField()

    class Meta:
        table = "change_batch"
