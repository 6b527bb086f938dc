"""Playbooks: what sets them off, who is on the way; a ledger that tells the whole story; consent."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.fields.db_defaults import SqlDefault
from tortoise.migrations import operations as ops

from siyu.store.ddl import CreateTable, table


class Migration(migrations.Migration):
    dependencies = [("siyu", "0009_access")]

    initial = False

    operations = [
        CreateTable(
            name="Consent",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("purpose", fields.CharField(default="", max_length=20)),
                ("channel", fields.CharField(default="", max_length=80)),
                ("given", fields.BooleanField()),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("event_id", fields.BigIntField(null=True)),
            ],
            options={
                "table": "consent",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "What a user said last to messages of a purpose by a channel (empty: of any).",
            },
            sql=table(
                "consent",
                "user_id bigint NOT NULL, purpose varchar(20) NOT NULL DEFAULT '', channel varchar(80) NOT NULL DEFAULT '', given bool NOT NULL, at timestamptz NOT NULL, event_id bigint",
                key="user_id, purpose, channel",
            ),
        ),
        CreateTable(
            name="Enrolment",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("playbook", fields.CharField(max_length=170)),
                ("version_id", fields.BigIntField()),
                ("occasion", fields.CharField(max_length=100)),
                ("because", fields.TextField(unique=False)),
                ("rulebook_id", fields.BigIntField(null=True)),
                ("began_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("lane", fields.SmallIntField(default=5)),
                ("step", fields.IntField(default=0)),
                ("due_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("listens", fields.BooleanField(default=False)),
                ("heard", fields.BooleanField(default=False)),
                ("listens_from", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("status", fields.CharField(default="active", max_length=10)),
                ("why", fields.TextField(default="", unique=False)),
                ("ended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "enrolment",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user on the way through a playbook: at which ``step``, until when.",
            },
            sql=table(
                "enrolment",
                "user_id bigint NOT NULL, playbook varchar(170) NOT NULL, version_id bigint NOT NULL, occasion varchar(100) NOT NULL, because text NOT NULL, rulebook_id bigint, began_at timestamptz NOT NULL, lane smallint NOT NULL DEFAULT 5, step int NOT NULL DEFAULT 0, due_at timestamptz NOT NULL, listens bool NOT NULL DEFAULT false, heard bool NOT NULL DEFAULT false, listens_from timestamptz, status varchar(10) NOT NULL DEFAULT 'active', why text NOT NULL DEFAULT '', ended_at timestamptz",
                key="id",
                indexes=[
                    "UNIQUE (brand_id, playbook, user_id, occasion)",
                    "UNIQUE (brand_id, user_id, playbook) WHERE status = 'active'",
                    "(brand_id, lane, due_at) WHERE status = 'active'",
                ],
            ),
        ),
        CreateTable(
            name="Occasion",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("noun", fields.CharField(max_length=10)),
                ("key", fields.CharField(max_length=170)),
                ("before", fields.CharField(null=True, max_length=80)),
                ("after", fields.CharField(null=True, max_length=80)),
                ("ref", fields.BigIntField(null=True)),
                ("rulebook_id", fields.BigIntField(null=True)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "occasion",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Something that a playbook may have been waiting for: an event, a tag or stage that changed.",
            },
            sql=table(
                "occasion",
                "user_id bigint NOT NULL, noun varchar(10) NOT NULL, key varchar(170) NOT NULL, before varchar(80), after varchar(80), ref bigint, rulebook_id bigint, at timestamptz NOT NULL",
                key="id",
            ),
        ),
        ops.CreateModel(
            name="PlaybookVersion",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("playbook", fields.CharField(max_length=170)),
                ("version", fields.CharField(max_length=16)),
                ("content", fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "playbook_version",
                "app": "siyu",
                "unique_together": (("brand_id", "playbook", "version"),),
                "pk_attr": "id",
                "table_description": "A playbook as it was begun, whole: whoever is under way goes on by it.",
            },
        ),
        ops.AlterModelOptions(
            name="Action",
            options={
                "table": "action",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Something to be done for a user: planned → held | suppressed | leased → sent | failed | unknown → delivered →",
            },
        ),
        ops.AlterField(
            model_name="Action",
            name="rulebook_id",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="Action",
            name="asked_by",
            field=fields.CharField(default="", db_default="", max_length=300),
        ),
        ops.AddField(
            model_name="Action",
            name="body",
            field=fields.JSONField(
                default=dict,
                db_default=SqlDefault("'{}'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
        ops.AddField(
            model_name="Action",
            name="enrolment_id",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="Action",
            name="lane",
            field=fields.SmallIntField(default=5, db_default=5),
        ),
        ops.AddField(
            model_name="Action",
            name="log",
            field=fields.JSONField(
                default=list,
                db_default=SqlDefault("'[]'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
        ops.AddField(
            model_name="Action",
            name="reason",
            field=fields.CharField(default="", db_default="", max_length=40),
        ),
        ops.AddField(
            model_name="Action",
            name="step",
            field=fields.CharField(default="", db_default="", max_length=80),
        ),
        ops.AddField(
            model_name="Action",
            name="touched_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Action",
            name="version_id",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="Brand",
            name="listens",
            field=fields.JSONField(
                default=dict,
                db_default=SqlDefault("'{}'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
        ops.RunSQL(
            """
            DROP INDEX action_brand_id_due_at_idx;
            CREATE INDEX ON action (brand_id, lane, due_at) WHERE status IN ('planned', 'held', 'leased');
            CREATE INDEX ON action (brand_id, user_id, touched_at) WHERE touched_at IS NOT NULL;
            """
        ),
    ]
