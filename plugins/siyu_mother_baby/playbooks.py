"""What is done as a baby grows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time

import siyu
from siyu import Field, Playbook, Send, Step, TagGained, Wait

__all__ = ["NextStage"]


class NextStage(Playbook):
    """下一阶段提醒"""

    goal = "order.paid"
    reentry = 20

    class Params(siyu.Params):
        channel: str = Field("outbox", min_length=1, max_length=80, title="通道")

    def trigger(self, p: Params) -> TagGained:
        return TagGained("mother_baby.next_*")

    def steps(self, p: Params) -> Iterable[Step]:
        yield Wait(until=time(10))
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，宝宝快进入下一个阶段了。我按月龄列了一张清单，提前备好就不慌。",
                "en": "{{ name }}, your little one is nearly at the next stage. Here is what other parents had ready.",
            },
            key="list",
            because={"zh": "因为宝宝到了这个月龄", "en": "because of your baby's age"},
        )
