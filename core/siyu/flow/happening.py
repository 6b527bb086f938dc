"""What happens inside the house becomes an event of the user whom it concerns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from siyu.store.db import Connection
from siyu.store.events import append, names_of
from siyu.store.models import Brand

__all__ = ["happened"]


async def happened(
    connection: Connection, brand: Brand, user_id: int, key: str, kind: str, payload: Mapping[str, Any], at: datetime
) -> bool:
    """Append an event of a user, in the transaction of ``connection``; False if it is known, or nobody is that user."""
    names = await names_of(connection, brand.id, [user_id])
    if user_id not in names:
        return False
    said = json.dumps(payload, ensure_ascii=False)
    return bool((await append(connection, brand.id, [(key[:200], kind, at, *names[user_id], said)])).new)
