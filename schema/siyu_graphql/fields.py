"""Fields that are computed or followed, with a description and the type that the method has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

from siyu_graphql.cost import priced

__all__ = ["computed", "followed"]

F = TypeVar("F", bound=Callable[..., Any])


def computed(description: str, *, name: str | None = None, cost: int = 0) -> Callable[[F], F]:
    """Make a method a field, by another ``name`` where Python keeps its own for itself, which costs as much as ``cost``
    objects more than what it returns. To type checkers it stays the method, where Strawberry's own decorator makes it
    Any."""
    return cast(Callable[[F], F], strawberry.field(name=name, description=description, metadata=priced(cost)))


def followed(description: str) -> Callable[[F], F]:
    """Make an asynchronous generator a subscription; typed as :func:`computed` is."""
    return cast(Callable[[F], F], strawberry.subscription(description=description))
