"""What each token has spent in this minute, over all processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from siyu import SiyuError

from siyu_graphql.errors import log

__all__ = ["Meter", "RateLimited", "Slots", "Tally", "TooMany"]

WINDOW_SECONDS = 60
SHARE = 100
"""A process takes at least this part of the budget at once, so that cheap requests do not each ask Valkey."""


class RateLimited(SiyuError):
    """The token has spent its budget of this minute."""

    code = "RATE_LIMITED"


class TooMany(SiyuError):
    """The token has as many connections and streams as it may."""

    code = "TOO_MANY_STREAMS"


class Slots:
    """How many connections and streams each token has open in this process."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, key: str) -> Iterator[None]:
        """Keep one open; :class:`TooMany` where no more may be."""
        if self._open[key] >= self._most:
            raise TooMany(f"this token has {self._most} connections and streams open", remedy="close some of them")
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


class Tally(Protocol):
    """Where all processes count: :class:`siyu.jobs.Queue`."""

    async def add(self, key: str, amount: int, seconds: int) -> int:
        """Add to a number that is forgotten after so many seconds, and return it."""


@dataclass
class _Held:
    """What this process has taken for a token and not spent; ``taken`` is what all have, as last heard."""

    left: int = 0
    taken: int = 0


class Meter:
    """The budget of each token: so much a minute, 0 for as much as they like.

    Where Valkey is away nobody is refused: the limit of a single request still holds.
    """

    def __init__(self, tally: Tally, per_minute: int) -> None:
        self._tally = tally
        self.per_minute = per_minute
        self._minute = 0
        self._held: dict[str, _Held] = {}

    async def spend(self, key: str, cost: int) -> int | None:
        """Spend, and say what is left; None where it is not known. :class:`RateLimited` where it is not enough."""
        if not self.per_minute:
            return None
        minute, second = divmod(int(time.time()), WINDOW_SECONDS)
        if minute != self._minute:
            self._minute, self._held = minute, {}
        held = self._held.setdefault(key, _Held())
        if held.left < cost and held.taken < self.per_minute:
            wanted = max(cost - held.left, self.per_minute // SHARE)
            try:
                total = await self._tally.add(f"siyu:cost:{key}:{minute}", wanted, 2 * WINDOW_SECONDS)
            except Exception:
                log.warning("the budget of %s is not known", key, exc_info=True)
                return None
            held.left += max(0, min(wanted, self.per_minute - (total - wanted)))
            held.taken = total
        if held.left < cost:
            raise RateLimited(
                f"the requests of this token may cost {self.per_minute} a minute, and this one costs {cost}",
                remedy=f"ask again in {WINDOW_SECONDS - second} seconds, or for less",
            )
        held.left -= cost
        return max(0, self.per_minute - held.taken) + held.left

    def give_back(self, key: str, cost: int) -> None:
        """Take back what was spent a moment ago, unless its minute is over."""
        if key in self._held and self._minute == int(time.time()) // WINDOW_SECONDS:
            self._held[key].left += cost
