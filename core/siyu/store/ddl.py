"""Tables that Tortoise cannot describe: composite keys that start with the brand, partitioned by brand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tortoise.migrations.operations import CreateModel
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State

__all__ = ["CreateTable", "table"]

PARTITIONS = 8


class CreateTable(CreateModel):
    """Create a model whose table is given as SQL."""

    def __init__(self, *, sql: str, **model: Any) -> None:
        super().__init__(**model)
        self.sql = sql

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if state_editor:
            await state_editor._run_sql(self.sql)


def table(name: str, columns: str, *, key: str, indexes: Sequence[str] = (), sequence: str | None = None) -> str:
    """SQL of a table with ``brand_id``, ``id`` (from ``sequence``, its own if none is named) and ``columns``.

    ``key`` follows the brand in the primary key; ``indexes`` are ``[UNIQUE] [USING method] (columns)``.
    """
    numbers = sequence or f"{name}_id_seq"
    parts = (
        f"CREATE TABLE {name}_{n} PARTITION OF {name} FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n});"
        for n in range(PARTITIONS)
    )
    made = (
        f"CREATE {'UNIQUE ' if index.startswith('UNIQUE ') else ''}INDEX ON {name} {index.removeprefix('UNIQUE ')};"
        for index in indexes
    )
    return "\n".join(
        [
            f"CREATE SEQUENCE IF NOT EXISTS {numbers};",
            f"CREATE TABLE {name} (brand_id int NOT NULL, id bigint NOT NULL DEFAULT nextval('{numbers}'), {columns},"
            f" PRIMARY KEY (brand_id, {key})) PARTITION BY HASH (brand_id);",
            *parts,
            *made,
        ]
    )
