"""siyu (私域): rules-as-code for private-domain user operations.

These are the names that plugins are written with; everything else is siyu's own business.
"""

from __future__ import annotations

from siyu.contract.actions import Channel, Message, Playbook, Receipt, Send, StageChanged
from siyu.contract.conditions import ALWAYS, Condition, Expr
from siyu.contract.errors import InputError, NotFound, PluginError, RuleError, SiyuError
from siyu.contract.events import EventKind, Line, Money, Payload
from siyu.contract.facts import Attribute, Count, DaysSince, DaysSinceFirst, Fact, Total
from siyu.contract.later import FeedbackHandler, Metric, SizingPolicy
from siyu.contract.markers import hookimpl, hookspec
from siyu.contract.params import Field, Params
from siyu.contract.rules import FittedSegmenter, Lifecycle, Segmenter, Stage, State, Tag

__all__ = [
    "ALWAYS",
    "Attribute",
    "Channel",
    "Condition",
    "Count",
    "DaysSince",
    "DaysSinceFirst",
    "EventKind",
    "Expr",
    "Fact",
    "FeedbackHandler",
    "Field",
    "FittedSegmenter",
    "InputError",
    "Lifecycle",
    "Line",
    "Message",
    "Metric",
    "Money",
    "NotFound",
    "Params",
    "Payload",
    "Playbook",
    "PluginError",
    "Receipt",
    "RuleError",
    "Segmenter",
    "Send",
    "SiyuError",
    "SizingPolicy",
    "Stage",
    "StageChanged",
    "State",
    "Tag",
    "Total",
    "hookimpl",
    "hookspec",
]

__version__ = "0.1.0"
