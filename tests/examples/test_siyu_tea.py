"""The example plugin, as its author would test it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from siyu.testing import decide, event

SOURCE = Path(__file__).parents[2] / "examples/siyu-tea/siyu_tea.py"


@pytest.fixture(scope="module")
def siyu_tea() -> ModuleType:
    spec = importlib.util.spec_from_file_location("siyu_tea", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_tin_that_should_be_empty_is_noticed(siyu_tea: ModuleType) -> None:
    tea = [{"category": "TEAS", "amount": 30}, {"category": "milk"}]
    bought = [event("order.paid", day, amount=35, items=tea) for day in ("2026-01-01", "2026-02-01")]
    verdict = decide(siyu_tea, bought, at="2026-04-01")
    assert verdict.tags == {"tea.running_out": "last tin 59 days ago, 2 this year; a tin lasts 45"}


def test_somebody_who_bought_tea_once_is_left_alone(siyu_tea: ModuleType) -> None:
    bought = [event("order.paid", "2026-01-01", amount=35, items=[{"category": "TEAS"}])]
    assert decide(siyu_tea, bought, at="2026-04-01").tags == {}


def test_a_tin_may_last_longer(siyu_tea: ModuleType) -> None:
    bought = [event("order.paid", f"2026-02-0{day}", amount=35, items=[{"category": "TEAS"}]) for day in (1, 2)]
    assert decide(siyu_tea, bought, at="2026-04-01", params={"tea_running_out": {"tin_days": 60}}).tags == {}
