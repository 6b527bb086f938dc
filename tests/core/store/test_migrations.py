"""The migrations make the tables that the models describe."""

from __future__ import annotations

from siyu.flow.context import Context
from siyu.store.db import APPS
from tortoise.migrations.autodetector import MigrationAutodetector


async def test_no_change_of_a_model_lacks_its_migration(ctx: Context) -> None:
    apps = ctx.db._context.apps
    assert apps is not None
    writers = await MigrationAutodetector(apps, APPS).changes()
    assert [operation.describe() for writer in writers for operation in writer.operations] == []


async def test_every_column_of_a_model_is_there(ctx: Context) -> None:
    """What Tortoise does not check: tables whose SQL is written by hand."""
    apps = ctx.db._context.apps
    assert apps is not None
    wanted = {
        (model._meta.db_table, field.source_field or name)
        for model in apps["siyu"].values()
        for name, field in model._meta.fields_map.items()
    }
    async with ctx.db.connection() as connection:
        rows = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
    assert wanted - {(row["table_name"], row["column_name"]) for row in rows} == set()
