"""What brands say, what people are to do, what there is to give; a secret that signs."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.fields.db_defaults import SqlDefault
from tortoise.migrations import operations as ops

from siyu.store.ddl import CreateTable, table


class Migration(migrations.Migration):
    dependencies = [("siyu", "0011_guard")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Benefit",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("key", fields.CharField(max_length=80)),
                ("title", fields.CharField(max_length=200)),
                ("stock", fields.IntField()),
                ("given", fields.IntField(default=0)),
                ("expires_days", fields.IntField(null=True)),
            ],
            options={
                "table": "benefit",
                "app": "siyu",
                "unique_together": (("brand_id", "key"),),
                "pk_attr": "id",
                "table_description": "Something of which there are ``stock`` to give, ``given`` of them by now, each good for some days (null: for",
            },
        ),
        CreateTable(
            name="Granted",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("action_id", fields.BigIntField()),
                ("user_id", fields.BigIntField()),
                ("benefit", fields.CharField(max_length=80)),
                ("code", fields.CharField(max_length=20)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "granted",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A benefit that a user was given, by an action, once; ``code`` is what they show for it.",
            },
            sql=table(
                "granted",
                "action_id bigint NOT NULL, user_id bigint NOT NULL, benefit varchar(80) NOT NULL, code varchar(20) NOT NULL, at timestamptz NOT NULL, expires_at timestamptz",
                key="id",
                indexes=["UNIQUE (brand_id, action_id)", "UNIQUE (brand_id, code)", "(brand_id, user_id, id)"],
            ),
        ),
        CreateTable(
            name="Task",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("action_id", fields.BigIntField()),
                ("user_id", fields.BigIntField()),
                ("role", fields.CharField(max_length=80)),
                ("title", fields.TextField(unique=False)),
                ("text", fields.TextField(default="", unique=False)),
                ("deadline", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("escalate_to", fields.CharField(default="", max_length=80)),
                ("status", fields.CharField(default="open", max_length=10)),
                ("assignee", fields.CharField(default="", max_length=200)),
                ("outcome", fields.TextField(default="", unique=False)),
                ("made_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("taken_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("escalated_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("done_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                (
                    "log",
                    fields.JSONField(
                        default=list, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                    ),
                ),
            ],
            options={
                "table": "task",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Something that a person is to do for a user, by a deadline: open → taken → done, or escalated where nobody did.",
            },
            sql=table(
                "task",
                "action_id bigint NOT NULL, user_id bigint NOT NULL, role varchar(80) NOT NULL, title text NOT NULL, text text NOT NULL DEFAULT '', deadline timestamptz NOT NULL, escalate_to varchar(80) NOT NULL DEFAULT '', status varchar(10) NOT NULL DEFAULT 'open', assignee varchar(200) NOT NULL DEFAULT '', outcome text NOT NULL DEFAULT '', made_at timestamptz NOT NULL, taken_at timestamptz, escalated_at timestamptz, done_at timestamptz, log jsonb NOT NULL DEFAULT '[]'",
                key="id",
                indexes=[
                    "UNIQUE (brand_id, action_id)",
                    "(brand_id, user_id, id)",
                    "(brand_id, deadline, id) WHERE status <> 'done'",
                ],
            ),
        ),
        ops.CreateModel(
            name="Template",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("key", fields.CharField(max_length=250)),
                ("channel", fields.CharField(default="", max_length=80)),
                ("language", fields.CharField(default="", max_length=10)),
                ("version", fields.IntField()),
                ("active", fields.BooleanField(default=True)),
                ("kind", fields.CharField(default="text", max_length=20)),
                ("purpose", fields.CharField(default="", max_length=20)),
                ("title", fields.TextField(default="", unique=False)),
                ("text", fields.TextField(default="", unique=False)),
                ("url", fields.TextField(default="", unique=False)),
                ("because", fields.TextField(default="", unique=False)),
                ("by", fields.CharField(default="", max_length=200)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "template",
                "app": "siyu",
                "unique_together": (("brand_id", "key", "channel", "language", "version"),),
                "pk_attr": "id",
                "table_description": "A version of a text, the newest of which counts.",
            },
        ),
        ops.AddField(
            model_name="Brand",
            name="voice",
            field=fields.JSONField(
                default=dict,
                db_default=SqlDefault("'{}'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
        ops.AddField(
            model_name="Installation",
            name="secret",
            field=fields.CharField(
                db_default=SqlDefault("gen_random_uuid()::text || gen_random_uuid()::text"), max_length=80
            ),
        ),
    ]
