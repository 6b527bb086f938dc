"""The first tables."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from siyu.store.ddl import CreateTable, table


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="AccessToken",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("name", fields.CharField(default="", max_length=200)),
                ("prefix", fields.CharField(max_length=12)),
                ("hash", fields.CharField(unique=True, max_length=64)),
                ("role", fields.CharField(max_length=20)),
                ("brand_id", fields.IntField(null=True)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("revoked_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "access_token",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A bearer token with a role, for one brand or (null) for all.",
            },
        ),
        CreateTable(
            name="Action",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("key", fields.CharField(max_length=200)),
                ("user_id", fields.BigIntField()),
                ("plugin", fields.CharField(max_length=80)),
                ("playbook", fields.CharField(max_length=80)),
                ("channel", fields.CharField(max_length=80)),
                ("purpose", fields.CharField(max_length=20)),
                ("text", fields.TextField(unique=False)),
                ("because", fields.TextField(unique=False)),
                ("status", fields.CharField(default="planned", max_length=20)),
                ("detail", fields.TextField(default="", unique=False)),
                ("attempts", fields.IntField(default=0)),
                ("rulebook_id", fields.BigIntField()),
                ("planned_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("due_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("leased_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("done_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "action",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Something to be done for a user: planned → leased → sent, failed or unknown.",
            },
            sql=table(
                "action",
                "key varchar(200) NOT NULL, user_id bigint NOT NULL, plugin varchar(80) NOT NULL, playbook varchar(80) NOT NULL, channel varchar(80) NOT NULL, purpose varchar(20) NOT NULL, text text NOT NULL, because text NOT NULL, status varchar(20) NOT NULL DEFAULT 'planned', detail text NOT NULL DEFAULT '', attempts int NOT NULL DEFAULT 0, rulebook_id bigint NOT NULL, planned_at timestamptz NOT NULL, due_at timestamptz NOT NULL, leased_until timestamptz, done_at timestamptz",
                key="id",
                indexes=[
                    "UNIQUE (brand_id, key)",
                    "(brand_id, user_id, id)",
                    "(brand_id, due_at) WHERE status IN ('planned', 'leased')",
                ],
            ),
        ),
        ops.CreateModel(
            name="Brand",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("slug", fields.CharField(unique=True, max_length=60)),
                ("name", fields.CharField(max_length=200)),
                ("zone", fields.CharField(default="Asia/Shanghai", max_length=60)),
                ("replayed_to", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("rulebook_id", fields.BigIntField(null=True)),
                ("refresh_asked", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("refreshed_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={"table": "brand", "app": "siyu", "pk_attr": "id", "table_description": "A brand."},
        ),
        CreateTable(
            name="DirtyUser",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
            ],
            options={
                "table": "dirty_user",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user with events that no decision has seen yet; a row a mark, so that marking never waits.",
            },
            sql=table(
                "dirty_user",
                "user_id bigint NOT NULL",
                key="id",
                indexes=[],
            ),
        ),
        CreateTable(
            name="Event",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("key", fields.CharField(max_length=200)),
                ("user_id", fields.BigIntField()),
                ("kind", fields.CharField(max_length=80)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                (
                    "payload",
                    fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads),
                ),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "event",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Something that happened. ``key`` is the sender's id of it, unique in the brand.",
            },
            sql=table(
                "event",
                "key varchar(200) NOT NULL, user_id bigint NOT NULL, kind varchar(80) NOT NULL, at timestamptz NOT NULL, payload jsonb NOT NULL, received_at timestamptz NOT NULL DEFAULT now()",
                key="id",
                indexes=[
                    "UNIQUE (brand_id, key)",
                    "(brand_id, user_id, at)",
                ],
            ),
        ),
        CreateTable(
            name="Identity",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("kind", fields.CharField(max_length=40)),
                ("value", fields.CharField(max_length=200)),
                ("user_id", fields.BigIntField()),
            ],
            options={
                "table": "identity",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A name that a user goes by somewhere: a member number, an openid, a phone, ...",
            },
            sql=table(
                "identity",
                "kind varchar(40) NOT NULL, value varchar(200) NOT NULL, user_id bigint NOT NULL",
                key="kind, value",
                indexes=[
                    "(brand_id, user_id)",
                ],
            ),
        ),
        ops.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("action_id", fields.BigIntField()),
                ("user_id", fields.BigIntField()),
                ("text", fields.TextField(unique=False)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "outbox_message",
                "app": "siyu",
                "unique_together": (("brand_id", "action_id"),),
                "pk_attr": "id",
                "table_description": "A message in the outbox: what a person would have received.",
            },
        ),
        ops.CreateModel(
            name="PluginSetting",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("plugin", fields.CharField(max_length=80)),
                ("enabled", fields.BooleanField(default=True)),
                (
                    "params",
                    fields.JSONField(
                        default=dict, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                    ),
                ),
                ("changed_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ("changed_by", fields.CharField(default="", max_length=200)),
            ],
            options={
                "table": "plugin_setting",
                "app": "siyu",
                "unique_together": (("brand_id", "plugin"),),
                "pk_attr": "id",
                "table_description": "A plugin of a brand: on or off, with parameters by declaration.",
            },
        ),
        ops.CreateModel(
            name="RejectedEvent",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("field", fields.TextField(null=True, unique=False)),
                ("reason", fields.TextField(unique=False)),
                (
                    "received",
                    fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads),
                ),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "rejected_event",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "id"])],
                "pk_attr": "id",
                "table_description": "An event that was refused, kept with the reason.",
            },
        ),
        ops.CreateModel(
            name="RulebookVersion",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("version", fields.CharField(max_length=16)),
                (
                    "content",
                    fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "rulebook_version",
                "app": "siyu",
                "unique_together": (("brand_id", "version"),),
                "pk_attr": "id",
                "table_description": "A rulebook as decisions were made by it: settings, states, conditions and reasons.",
            },
        ),
        ops.CreateModel(
            name="Run",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("kind", fields.CharField(max_length=20)),
                ("status", fields.CharField(default="running", max_length=20)),
                ("phase", fields.CharField(default="", max_length=40)),
                ("progress", fields.FloatField(default=0)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("users", fields.BigIntField(default=0)),
                ("changes", fields.BigIntField(default=0)),
                (
                    "seconds",
                    fields.JSONField(
                        default=dict, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                    ),
                ),
                ("error", fields.TextField(null=True, unique=False)),
                ("started_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("finished_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "run",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "id"])],
                "pk_attr": "id",
                "table_description": "One refresh or import: running, done or failed; ``seconds`` by phase.",
            },
        ),
        ops.CreateModel(
            name="SealedRange",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("first_id", fields.BigIntField()),
                ("last_id", fields.BigIntField()),
            ],
            options={
                "table": "sealed_range",
                "app": "siyu",
                "unique_together": (("brand_id", "first_id"),),
                "pk_attr": "id",
                "table_description": "A closed range of event ids that the lake holds as Parquet.",
            },
        ),
        ops.CreateModel(
            name="Stage",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("track", fields.CharField(max_length=80)),
                ("key", fields.CharField(max_length=80)),
                ("title", fields.CharField(max_length=200)),
                ("plugin", fields.CharField(max_length=80)),
                ("position", fields.IntField()),
                ("active", fields.BooleanField(default=True)),
                ("users", fields.BigIntField(default=0)),
                ("as_of", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "stage",
                "app": "siyu",
                "unique_together": (("brand_id", "track", "key"),),
                "pk_attr": "id",
                "table_description": "A stage of a track of a brand, in the order of ``position``.",
            },
        ),
        CreateTable(
            name="StageHistory",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("track", fields.CharField(max_length=80)),
                ("stage", fields.CharField(max_length=80)),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("until", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("rulebook_id", fields.BigIntField()),
                ("why", fields.TextField(unique=False)),
            ],
            options={
                "table": "stage_history",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Where a user stood, ``since`` one moment ``until`` another.",
            },
            sql=table(
                "stage_history",
                "user_id bigint NOT NULL, track varchar(80) NOT NULL, stage varchar(80) NOT NULL, since timestamptz NOT NULL, until timestamptz NOT NULL, rulebook_id bigint NOT NULL, why text NOT NULL",
                key="id",
                indexes=[
                    "(brand_id, user_id, id)",
                ],
                sequence="decision_id_seq",
            ),
        ),
        ops.CreateModel(
            name="Tag",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("key", fields.CharField(max_length=80)),
                ("title", fields.CharField(max_length=200)),
                ("plugin", fields.CharField(max_length=80)),
                ("active", fields.BooleanField(default=True)),
                ("users", fields.BigIntField(default=0)),
                ("as_of", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "tag",
                "app": "siyu",
                "unique_together": (("brand_id", "key"),),
                "pk_attr": "id",
                "table_description": "A tag of a brand; ``users`` is how many have it, ``as_of`` when all were last looked at.",
            },
        ),
        CreateTable(
            name="TagAssignment",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("tag_id", fields.IntField()),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("rulebook_id", fields.BigIntField()),
                ("why", fields.TextField(unique=False)),
            ],
            options={
                "table": "tag_assignment",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user has a tag now. ``why`` is a JSON array of the facts that the reason names.",
            },
            sql=table(
                "tag_assignment",
                "user_id bigint NOT NULL, tag_id int NOT NULL, since timestamptz NOT NULL, rulebook_id bigint NOT NULL, why text NOT NULL",
                key="user_id, tag_id",
                indexes=[
                    "(brand_id, tag_id, user_id)",
                    "USING brin (id)",
                ],
                sequence="decision_id_seq",
            ),
        ),
        CreateTable(
            name="TagHistory",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("tag_id", fields.IntField()),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("until", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("rulebook_id", fields.BigIntField()),
                ("why", fields.TextField(unique=False)),
                ("ended_rulebook_id", fields.BigIntField()),
                ("ended_why", fields.TextField(unique=False)),
            ],
            options={
                "table": "tag_history",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user had a tag ``since`` one moment ``until`` another.",
            },
            sql=table(
                "tag_history",
                "user_id bigint NOT NULL, tag_id int NOT NULL, since timestamptz NOT NULL, until timestamptz NOT NULL, rulebook_id bigint NOT NULL, why text NOT NULL, ended_rulebook_id bigint NOT NULL, ended_why text NOT NULL",
                key="id",
                indexes=[
                    "(brand_id, user_id, id)",
                ],
                sequence="decision_id_seq",
            ),
        ),
        CreateTable(
            name="User",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                (
                    "attributes",
                    fields.JSONField(
                        default=dict, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                    ),
                ),
                ("first_seen", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("last_seen", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "users",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "One person, as one brand knows them. ``attributes`` are the latest values that events gave.",
            },
            sql=table(
                "users",
                "attributes jsonb NOT NULL DEFAULT '{}', first_seen timestamptz NOT NULL, last_seen timestamptz NOT NULL",
                key="id",
                indexes=[
                    "(brand_id, last_seen, id)",
                ],
            ),
        ),
        CreateTable(
            name="UserStage",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("track", fields.CharField(max_length=80)),
                ("stage", fields.CharField(max_length=80)),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("rulebook_id", fields.BigIntField()),
                ("why", fields.TextField(unique=False)),
            ],
            options={
                "table": "user_stage",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Where a user stands in a track.",
            },
            sql=table(
                "user_stage",
                "user_id bigint NOT NULL, track varchar(80) NOT NULL, stage varchar(80) NOT NULL, since timestamptz NOT NULL, rulebook_id bigint NOT NULL, why text NOT NULL",
                key="user_id, track",
                indexes=[
                    "(brand_id, track, stage, user_id)",
                    "USING brin (id)",
                ],
                sequence="decision_id_seq",
            ),
        ),
        ops.CreateModel(
            name="Installation",
            fields=[("id", fields.UUIDField(primary_key=True, unique=True, db_index=True))],
            options={
                "table": "installation",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "One row that tells this database from others: what is derived from it on disk lies under this name.",
            },
        ),
        ops.RunSQL("INSERT INTO installation (id) VALUES (gen_random_uuid())"),
    ]
