"""siyu (私域): rules-as-code for private-domain user operations.

These are the names that plugins are written with; everything else is siyu's own business.
"""

from __future__ import annotations

from siyu.contract.actions import Channel, Message, Playbook, Receipt, Send, StageChanged
from siyu.contract.attributes import AttributeKind
from siyu.contract.conditions import ALWAYS, Condition, Expr, HasTag
from siyu.contract.errors import InputError, NotFound, PluginError, RuleError, SiyuError
from siyu.contract.events import EventKind, Line, Money, Payload
from siyu.contract.facts import (
    DAY,
    Age,
    Attribute,
    Contains,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    Fact,
    First,
    Formula,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    Score,
    Share,
    Total,
    Values,
    Within,
)
from siyu.contract.identities import IdentityKind
from siyu.contract.later import FeedbackHandler, Metric, SizingPolicy
from siyu.contract.markers import hookimpl, hookspec
from siyu.contract.params import Field, Params
from siyu.contract.rules import FittedSegmenter, Lifecycle, Segmenter, Stage, State, Tag

__all__ = [
    "ALWAYS",
    "DAY",
    "Age",
    "Attribute",
    "AttributeKind",
    "Channel",
    "Condition",
    "Contains",
    "Count",
    "Cycle",
    "DaysSince",
    "DaysSinceFirst",
    "DaysUntil",
    "Distinct",
    "EventKind",
    "Expr",
    "Fact",
    "FeedbackHandler",
    "Field",
    "First",
    "FittedSegmenter",
    "Formula",
    "HasTag",
    "IdentityKind",
    "InputError",
    "Last",
    "Lifecycle",
    "Line",
    "Max",
    "Mean",
    "Mentions",
    "Message",
    "Metric",
    "Min",
    "Money",
    "NotFound",
    "Params",
    "Payload",
    "Playbook",
    "PluginError",
    "Receipt",
    "RuleError",
    "Score",
    "Segmenter",
    "Send",
    "Share",
    "SiyuError",
    "SizingPolicy",
    "Stage",
    "StageChanged",
    "State",
    "Tag",
    "Total",
    "Values",
    "Within",
    "hookimpl",
    "hookspec",
]

__version__ = "0.1.0"
