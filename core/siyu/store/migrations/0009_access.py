"""Tokens that see personal data, and when they were used; the audit log; trusted documents."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0008_user_counts")]

    initial = False

    operations = [
        ops.AddField(
            model_name="AccessToken", name="personal", field=fields.BooleanField(default=False, db_default=False)
        ),
        ops.AddField(model_name="AccessToken", name="used_at", field=fields.DatetimeField(null=True)),
        ops.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("by", fields.CharField(max_length=200)),
                ("what", fields.CharField(max_length=80)),
                ("target", fields.CharField(default="", max_length=200)),
                ("users", fields.IntField(null=True)),
                ("operation", fields.CharField(default="", max_length=200)),
                ("request_id", fields.CharField(default="", max_length=40)),
                *(
                    (
                        name,
                        fields.JSONField(
                            null=True, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                        ),
                    )
                    for name in ("before", "after")
                ),
            ],
            options={
                "table": "audit_entry",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "at", "id"])],
                "pk_attr": "id",
                "table_description": "Who did or read what, and when. ``brand_id`` is 0 for what belongs to no brand.",
            },
        ),
        ops.RunSQL(
            """
            CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'rows of % are only ever appended', TG_TABLE_NAME;
            END $$;
            CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
            """,
            "DROP TRIGGER appended_only ON audit_entry; DROP FUNCTION refuse_change();",
        ),
        ops.CreateModel(
            name="TrustedDocument",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("hash", fields.CharField(unique=True, max_length=64)),
                ("name", fields.CharField(max_length=200)),
                ("text", fields.TextField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "trusted_document",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A document that somebody registered, found by the SHA-256 of its text.",
            },
        ),
    ]
