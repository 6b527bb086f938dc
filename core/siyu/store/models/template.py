"""What a brand says in the place of its plugins' texts, and its content library."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Template(Model):
    """A version of a text, the newest of which counts.

    ``key`` is that of a playbook's step (plugin.playbook.step) or one of the brand's own. ``channel`` and ``language``
    are empty where it is for any. One that is not ``active`` ends what stood there: the default counts again.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    key = fields.CharField(max_length=250)
    channel = fields.CharField(max_length=80, default="")
    language = fields.CharField(max_length=10, default="")
    version = fields.IntField()
    active = fields.BooleanField(default=True)
    kind = fields.CharField(max_length=20, default="text")
    purpose = fields.CharField(max_length=20, default="")
    title = fields.TextField(default="")
    text = fields.TextField(default="")
    url = fields.TextField(default="")
    because = fields.TextField(default="")
    by = fields.CharField(max_length=200, default="")
    at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "template"
        unique_together = (("brand_id", "key", "channel", "language", "version"),)
