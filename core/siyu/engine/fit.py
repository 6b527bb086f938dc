"""Fit the segmenters that must see the whole population first."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import FittedSegmenter, State
from siyu.engine.rulebook import Failed, Name

__all__ = ["fit", "fit_facts", "fit_fenced"]

BUDGET_SECONDS = 60.0
"""How long a rule may look at the whole population."""


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
    states, failed = fit_fenced(plugins, facts)
    for error in failed.values():
        raise error
    return states


def fit_fenced(
    plugins: Iterable[tuple[Plugin, Mapping[str, Params]]],
    facts: pl.DataFrame,
    fenced: Collection[Name] = (),
    pinned: Mapping[str, Mapping[str, State]] | None = None,
) -> tuple[dict[str, dict[str, State]], Failed]:
    """As :func:`fit`, but a rule that fails stops nobody else; rules in ``fenced`` are not asked, those that are
    ``pinned`` keep their state."""
    states: dict[str, dict[str, State]] = {}
    failed: Failed = {}
    for plugin, params in plugins:
        for rule in plugin.rules:
            if not isinstance(rule, FittedSegmenter) or (plugin.name, rule.key) in fenced:
                continue
            if (kept := (pinned or {}).get(plugin.name, {}).get(rule.key)) is not None:
                states.setdefault(plugin.name, {})[rule.key] = kept
                continue
            mine = facts.select(pl.col(fact.name).alias(name) for name, fact in rule.facts.items())
            started = time.perf_counter()
            try:
                # Through JSON, as it will be read: what cannot be kept must not be decided by.
                state = json.loads(json.dumps(rule.fit(mine, params[rule.key]), allow_nan=False))
                if (took := time.perf_counter() - started) > BUDGET_SECONDS:
                    raise RuleError(
                        f"fit() took {took:.0f} s", field=rule.key, remedy=f"{BUDGET_SECONDS:g} s are allowed"
                    )
            except Exception as error:  # whatever a plugin's code may raise
                failed[plugin.name, rule.key] = error
            else:
                states.setdefault(plugin.name, {})[rule.key] = state
    return states, failed
