"""What the playbooks share."""

from __future__ import annotations

from datetime import time, timedelta

import siyu
from siyu import Field

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEXT_MORNING = time(10)


class Channelled(siyu.Params):
    """Of every playbook: by which channel it speaks."""

    channel: str = Field("outbox", min_length=1, max_length=80, title="通道")
