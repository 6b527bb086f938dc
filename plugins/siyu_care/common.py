"""What the playbooks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import time, timedelta

import siyu
from siyu import Field, Grant

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEXT_MORNING = time(10)

BENEFIT = r"^([a-z][a-z0-9_]{0,79})?$"
"""The key of a benefit of the brand, or nothing."""


class Channelled(siyu.Params):
    """Of every playbook: by which channel it speaks."""

    channel: str = Field("outbox", min_length=1, max_length=80, title="通道")


class Giving(Channelled):
    """Of those that have something to give: what. Where it is nothing, nothing is promised."""

    gift: str = Field("", pattern=BENEFIT, title="送什么（权益的键；留空则不送）")


def give(benefit: str, key: str = "present", *, urgent: bool = False) -> Iterable[siyu.Step]:
    """Give a benefit, if there is one to give."""
    if benefit:
        yield Grant(benefit, key=key, urgent=urgent)


def with_gift(benefit: str, said: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Texts in which ``{gift}`` stands for ``more`` where the user was given the benefit, its code as ``{code}``."""
    name = f"benefit.{benefit}"
    told = {
        language: f"{{% if {name} %}}{words.replace('{code}', f'{{{{ {name} }}}}')}{{% endif %}}" if benefit else ""
        for language, words in more.items()
    }
    return {language: words.replace("{gift}", told[language]) for language, words in said.items()}
