"""How mutations are made: with a right that they need, and with errors in the payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import strawberry
from siyu import SiyuError
from siyu.flow.tokens import Right
from strawberry.extensions import FieldExtension
from strawberry.relay import GlobalID

from siyu_graphql.errors import UserError

__all__ = ["Guard", "Payload", "mutation"]


TARGETS = ("plugin", "playbook", "name", "merge", "task", "user", "key")
"""Arguments that say what a mutation is done to."""


@strawberry.type(description="What a mutation returns.")
class Payload:
    """Base of the payloads. Every field but ``user_errors`` needs a default, for the case that it was refused."""

    def noted(self) -> Mapping[str, Any] | None:
        """What the audit log keeps of it beside the name of the mutation."""
        return None

    user_errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was refused; empty where it was done."
    )


class Guard(FieldExtension):
    """Asks the role of the token before a mutation runs, puts what the client caused into its payload, and has the
    audit log keep what was done."""

    def __init__(self, right: Right, payload: type[Payload], *, noted: bool = True) -> None:
        self.right = right
        self._payload = payload
        self._noted = noted

    # By their place: an argument of a mutation may be called source.
    async def resolve_async(  # type: ignore[override]
        self, next_: Callable[..., Any], source: Any, info: Any, /, **kwargs: Any
    ) -> Any:
        info.context.access.require(self.right)
        # Of several in a document each begins when the one before it has been answered.
        info.context.forget()
        try:
            done = await next_(source, info, **kwargs)
        except SiyuError as error:
            return self._payload(user_errors=[UserError.of(error)])
        if self._noted and done is not None and not done.user_errors:
            target = next((str(kwargs[name]) for name in TARGETS if kwargs.get(name)), "")
            await info.context.note(info.field_name, _brand(info, kwargs), target, done.noted())
        return done


def mutation(
    right: Right, payload: type[Payload], description: str, *, noted: bool = True
) -> Callable[[Callable[..., Any]], Any]:
    """Make a coroutine a mutation that needs ``right`` and returns ``payload`` (or null, where it was not allowed).

    The audit log keeps that it was done and by whom; unless it is not ``noted``, because what it calls keeps a
    history of its own. Its brand is the argument ``brand``, or that of the node whose ``id`` is given.
    """

    def make(resolver: Callable[..., Any]) -> Any:
        guard = Guard(right, payload, noted=noted)
        return strawberry.mutation(resolver, description=description, extensions=[guard])

    return make


def _brand(info: Any, given: Mapping[str, Any]) -> int:
    """The brand that a mutation was about; 0 where it was about none."""
    if "brand" in given:
        return int(info.context.brands.get(given["brand"], 0))
    node = given.get("id")
    brand = node.node_id.partition(":")[0] if isinstance(node, GlobalID) else ""
    return int(brand) if brand.isdigit() else 0
