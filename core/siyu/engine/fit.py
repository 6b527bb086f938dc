"""Fit the segmenters that must see the whole population first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from siyu.contract.facts import Fact
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import FittedSegmenter, State

__all__ = ["fit", "fit_facts"]


def fit_facts(plugins: Iterable[Plugin]) -> list[Fact]:
    """The facts that fitting needs."""
    found: dict[str, Fact] = {}
    for plugin in plugins:
        for rule in plugin.rules:
            if isinstance(rule, FittedSegmenter):
                found.update({fact.name: fact for fact in rule.facts.values()})
    return [found[name] for name in sorted(found)]


def fit(plugins: Iterable[tuple[Plugin, Mapping[str, Params]]], facts: pl.DataFrame) -> dict[str, dict[str, State]]:
    """The states of all fitted segmenters, by plugin and rule; ``facts`` has columns by fact name."""
    states: dict[str, dict[str, State]] = {}
    for plugin, params in plugins:
        for rule in plugin.rules:
            if isinstance(rule, FittedSegmenter):
                mine = facts.select(pl.col(fact.name).alias(name) for name, fact in rule.facts.items())
                states.setdefault(plugin.name, {})[rule.key] = rule.fit(mine, params[rule.key])
    return states
