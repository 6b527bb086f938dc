"""What the server says of itself."""

from __future__ import annotations

import siyu
import strawberry

from siyu_graphql.fields import computed

__all__ = ["ServerQueries"]


@strawberry.type
class ServerQueries:
    @computed("The version of siyu that answers.")
    def version(self) -> str:
        return siyu.__version__
