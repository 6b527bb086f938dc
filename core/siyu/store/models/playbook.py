"""Users on their way through playbooks."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class PlaybookVersion(Model):
    """A playbook as it was begun, whole: whoever is under way goes on by it."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    playbook = fields.CharField(max_length=170)
    version = fields.CharField(max_length=16)
    content: fields.Field[dict[str, Any]] = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "playbook_version"
        unique_together = (("brand_id", "playbook", "version"),)


class Occasion(Model):
    """Something that a playbook may have been waiting for: an event, a tag or stage that changed.

    Gone once it is looked at. ``key`` is the kind, tag or track, ``ref`` the event's id. A tag has its key ``after``
    where gained, ``before`` where lost.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    noun = fields.CharField(max_length=10)
    key = fields.CharField(max_length=170)
    before = fields.CharField(max_length=80, null=True)
    after = fields.CharField(max_length=80, null=True)
    ref = fields.BigIntField(null=True)
    rulebook_id = fields.BigIntField(null=True)
    at = fields.DatetimeField()

    class Meta:
        table = "occasion"


class Enrolment(Model):
    """A user on the way through a playbook: at which ``step``, until when.

    ``occasion`` is what it began with, once each. ``listens`` says that the step waits for an event (since
    ``listens_from``), ``heard`` that it came. Of who waits for a greeting the ``lane`` is 0. ``status`` is active,
    done, goal or ended; ``why`` says how.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    playbook = fields.CharField(max_length=170)
    version_id = fields.BigIntField()
    occasion = fields.CharField(max_length=100)
    because = fields.TextField()
    rulebook_id = fields.BigIntField(null=True)
    began_at = fields.DatetimeField()
    lane = fields.SmallIntField(default=5)
    step = fields.IntField(default=0)
    due_at = fields.DatetimeField()
    listens = fields.BooleanField(default=False)
    heard = fields.BooleanField(default=False)
    listens_from = fields.DatetimeField(null=True)
    status = fields.CharField(max_length=10, default="active")
    why = fields.TextField(default="")
    ended_at = fields.DatetimeField(null=True)

    class Meta:
        table = "enrolment"
