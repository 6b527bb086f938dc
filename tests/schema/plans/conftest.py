"""An API whose documents have plans from the first time on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from siyu_graphql.plans.runner import Plans


@pytest.fixture
def door(world: Any) -> Iterator[Any]:
    """Where the API chooses between a plan and resolvers; closed, it leaves everything to resolvers."""
    found = world.app.state.door
    plans, found.plans = found.plans, Plans(world.ctx.db, found.schema, sightings=1)
    yield found
    found.plans, found.open = plans, True
