"""GraphQL documents that are trusted: of the installation, not of a brand."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class TrustedDocument(Model):
    """A document that somebody registered, found by the SHA-256 of its text."""

    id = fields.IntField(primary_key=True)
    hash = fields.CharField(max_length=64, unique=True)
    name = fields.CharField(max_length=200)
    text = fields.TextField()
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "trusted_document"
