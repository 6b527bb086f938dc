"""Interest: what a user cares for, how warm the contact is, and what to show next.

- :mod:`siyu_interest.tags`: interests, from what was said, asked, looked at, read, joined and bought (B2)
- :mod:`siyu_interest.tiers`: tiers of interaction, and which is served first (B4)
- :mod:`siyu_interest.intent`: high intent, to be answered the next day (B5)
- :mod:`siyu_interest.affinity`: which topics suit the buyers of what, as the data show (B8)
"""

from __future__ import annotations

from collections.abc import Iterable

from siyu import EventKind, FittedSegmenter, Segmenter, hookimpl

from siyu_interest.affinity import ContentAffinity
from siyu_interest.intent import HighIntent
from siyu_interest.kinds import KINDS
from siyu_interest.tags import Interests
from siyu_interest.tiers import InteractionTiers


@hookimpl
def siyu_event_kinds() -> Iterable[EventKind]:
    return KINDS


@hookimpl
def siyu_segmenters() -> list[type[Segmenter | FittedSegmenter]]:
    return [Interests, InteractionTiers, HighIntent, ContentAffinity]
