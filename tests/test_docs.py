"""The examples of the documentation do what it says."""

from __future__ import annotations

import re
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
from siyu import Batch
from siyu.contract.manager import PluginManager
from siyu.engine.guard import CHECKS, judge
from siyu.flow.dispatch import Outbox

DOCS = Path(__file__).parents[1] / "docs"


def test_the_playbook_of_the_documentation_goes_as_its_story_says() -> None:
    declared, told = re.findall(r"```python\n(.*?)```", (DOCS / "playbooks.md").read_text(), re.DOTALL)
    plugin = types.ModuleType("siyu_tasting")
    exec(declared, vars(plugin))
    scope: dict[str, object] = {"siyu_tasting": plugin}
    exec(told, scope)
    [test] = [value for name, value in scope.items() if name.startswith("test_")]
    test()  # type: ignore[operator]


def test_the_table_of_reasons_is_that_of_the_checks_in_their_order() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (DOCS / "guard.md").read_text(), re.MULTILINE)
    assert table == [check.key for check in CHECKS]


def test_the_check_of_the_documentation_holds_back_what_it_says() -> None:
    [declared] = re.findall(r"```python\n(.*?)```", (DOCS / "guard.md").read_text(), re.DOTALL)
    plugin = types.ModuleType("quiet_mondays")
    exec(declared, vars(plugin))
    manager = PluginManager()
    [check] = manager.register("quiet_mondays", plugin).checks
    monday = datetime(2026, 6, 8, 4, tzinfo=UTC)
    sms = type("Sms", (Outbox,), {"key": "sms"})(None, 1)
    actions = pl.DataFrame(
        {"id": [1, 2], "user_id": [1, 2], "purpose": ["care", "service"], "planned_at": [monday] * 2}
    )
    nothing = pl.DataFrame({"user_id": []}, schema={"user_id": pl.Int64})
    for day, verdicts in ((monday, ["later", "pass"]), (monday + timedelta(days=1), ["pass", "pass"])):
        batch = Batch(day, ZoneInfo("Asia/Shanghai"), sms, actions, nothing, nothing, nothing, nothing, None, {})
        assert judge(batch, [(check, check.Params())])[0].get_column("verdict").to_list() == verdicts
