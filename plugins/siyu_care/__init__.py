"""关怀 · 从首触到道别的用户关怀流程

Care from the first touch to the farewell: what brands that keep their customers do for them, each at its moment (D1 to
D8 of the ledger). Every playbook can be set, and every text replaced, for a brand.

- :mod:`siyu_care.newcomers`: 引入, that they stay
- :mod:`siyu_care.growing`: 成长, that they buy more often, and more
- :mod:`siyu_care.mature`: 成熟, that they last longer, and take part
- :mod:`siyu_care.leaving`: 休眠 and 流失, that they come back, or part as friends
- :mod:`siyu_care.moments`: birthdays, anniversaries, the care of what was bought
"""

from __future__ import annotations

from siyu import AttributeKind, Playbook, Segmenter, hookimpl

from siyu_care.growing import Replenishment, RunningOut, SecondOrder
from siyu_care.leaving import Dormant, DoubleEleven, Farewell, MidYear
from siyu_care.mature import FollowVip, Mature, Valued
from siyu_care.moments import Birthday, CareCycle, JoiningDay, NewYear
from siyu_care.newcomers import FirstTouch, Onboarding


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [AttributeKind("birthday", "生日", "date", personal=True)]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [RunningOut, Valued]


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [
        FirstTouch,
        Onboarding,
        SecondOrder,
        Replenishment,
        FollowVip,
        Mature,
        Dormant,
        Farewell,
        MidYear,
        DoubleEleven,
        Birthday,
        JoiningDay,
        NewYear,
        CareCycle,
    ]
