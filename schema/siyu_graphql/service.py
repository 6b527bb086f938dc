"""What all requests of a process share: who may come, what they have spent, and what they may ask."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from siyu.flow.context import Context
from siyu.flow.provider import IdentityProvider
from siyu.flow.tokens import Access, authenticate
from siyu.runtime import ApiSettings

from siyu_graphql.context import Queue, RequestContext
from siyu_graphql.documents import Documents
from siyu_graphql.meter import Meter, Slots

__all__ = ["Service"]


@dataclass
class Service:
    """The API of a process."""

    ctx: Context
    queue: Queue
    settings: ApiSettings
    meter: Meter = field(init=False)
    slots: Slots = field(init=False)
    documents: Documents = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.queue, self.settings.cost_per_minute)
        self.slots = Slots(self.settings.most_streams)
        self.documents = Documents(trusted_only=self.settings.trusted_only)
        self._provider = IdentityProvider(self.settings.provider) if self.settings.provider else None

    async def bearer(self, authorization: str) -> Access | None:
        """What the bearer may do of whose token an ``Authorization`` header speaks."""
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = await authenticate(secret.strip())
        if found is None and self._provider is not None and secret.count(".") == 2:
            return await self._provider.authenticate(secret.strip())
        return found

    def request(self, access: Access, request_id: str | None = None) -> RequestContext:
        """What an operation of the bearer is given."""
        return RequestContext(
            self.ctx,
            self.queue,
            access,
            request_id or uuid.uuid4().hex,
            settings=self.settings,
            meter=self.meter,
            slots=self.slots,
        )
