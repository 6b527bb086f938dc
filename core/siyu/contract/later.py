"""Kinds of contribution that plugins can already declare and list; the loop does not act on them yet."""

from __future__ import annotations

from siyu.contract.rules import Declaration

__all__ = ["FeedbackHandler", "Metric", "SizingPolicy"]


class SizingPolicy(Declaration):
    """How communities are sized, split and filled."""


class FeedbackHandler(Declaration):
    """What a review, complaint, need or question sets off."""


class Metric(Declaration):
    """A figure over the decisions and actions."""
