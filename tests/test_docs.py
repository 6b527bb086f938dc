"""The examples of the documentation do what it says."""

from __future__ import annotations

import re
import types
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_playbook_of_the_documentation_goes_as_its_story_says() -> None:
    declared, told = re.findall(r"```python\n(.*?)```", (DOCS / "playbooks.md").read_text(), re.DOTALL)
    plugin = types.ModuleType("siyu_tasting")
    exec(declared, vars(plugin))
    scope: dict[str, object] = {"siyu_tasting": plugin}
    exec(told, scope)
    [test] = [value for name, value in scope.items() if name.startswith("test_")]
    test()  # type: ignore[operator]
