"""Fit the segmenters that must see the whole population first."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

import polars as pl
import polars.selectors as cs

from siyu.contract.budget import Call, make
from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import FittedSegmenter, State
from siyu.engine.rulebook import Failed, Name

__all__ = ["fit", "fit_facts", "fit_fenced"]

FIT_SECONDS = 60.0
"""How long a rule may look at the whole population."""
MOST_STATE = 4_000_000
"""Letters of a state, as JSON: it is kept with each version of the rulebook."""


def fit_facts(plugins: Iterable[Plugin]) -> list[Fact]:
    """The facts that fitting needs."""
    found = {fact.name: fact for plugin in plugins for rule in plugin.fitted for fact in rule.facts.values()}
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
    calls: dict[Name, Call[State]] = {}
    states: dict[str, dict[str, State]] = {}
    for plugin, params in plugins:
        for rule in plugin.fitted:
            name = (plugin.name, rule.key)
            if name in fenced:
                continue
            if (kept := (pinned or {}).get(plugin.name, {}).get(rule.key)) is not None:
                states.setdefault(plugin.name, {})[rule.key] = kept
            else:
                calls[name] = _call(name, rule, params[rule.key], facts)
    failed: Failed = {}
    for name, answer in zip(calls, make(list(calls.values()), FIT_SECONDS), strict=True):
        if isinstance(answer, Exception):
            failed[name] = answer
        else:
            states.setdefault(name[0], {})[name[1]] = answer
    return states, failed


def _call(name: Name, rule: FittedSegmenter, p: Params, facts: pl.DataFrame) -> Call[State]:
    def fitted() -> State:
        mine = facts.select(pl.col(fact.name).alias(own) for own, fact in rule.facts.items())
        # Codes are the engine's business; in one piece each look at the values takes a part of the time.
        mine = mine.cast({cs.enum(): pl.String}).rechunk()
        # Through JSON, as it will be read: what cannot be kept must not be decided by.
        text = json.dumps(rule.fit(mine, p), allow_nan=False)
        if len(text) > MOST_STATE or "\\u0000" in text:
            raise RuleError(
                f"a state of {len(text):,} letters {text:.40}",
                field=rule.key,
                remedy=f"learn less, at most {MOST_STATE:,}, and no text with NUL",
            )
        state: State = json.loads(text)
        if not isinstance(state, dict):
            raise RuleError(f"fit returns {text:.40}", field=rule.key, remedy="return what it learnt by name: a dict")
        return state

    return Call(rule.key, (name, p), fitted)
