"""The migrations make the tables that the models describe."""

from __future__ import annotations

import pytest
from siyu.contract.errors import InputError
from siyu.flow.context import Context
from siyu.runtime import Addresses
from siyu.store.db import APPS, Database
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


async def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siyu.store.db.OLDEST", 99)
    db = await Database.open(addresses.database_url, pool=1)
    try:
        with pytest.raises(InputError, match="PostgreSQL 18 is too old") as caught:
            await db.migrate()
        async with db.connection() as connection:
            assert await connection.fetchval("SELECT to_regclass('brand')") is None
    finally:
        await db.close()
    assert caught.value.field == "DATABASE_URL"
    assert "99 or newer" in str(caught.value.remedy)
