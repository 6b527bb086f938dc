"""What the README says is what happens: its queries get its answers from the demo, its plugin is the example."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
import siyu
from siyu.testing import decide, event

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SIYU = Path(sys.executable).with_name("siyu")

Ask = Callable[[str], Any]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """``siyu demo`` as a user starts it, and a way to ask it."""
    folder = tmp_path_factory.mktemp("demo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "SIYU_HOME": str(folder / "home"), "SIYU_EMBEDDED_FSYNC": "off"}
    log = folder / "demo.log"
    with log.open("w") as out:
        process = subprocess.Popen([SIYU, "demo", "--port", str(port)], env=env, stdout=out, stderr=out, cwd=folder)
    try:
        token = _wait_for_token(process, log)
        with httpx2.Client(headers={"Authorization": f"Bearer {token}"}) as client:
            url = f"http://127.0.0.1:{port}"
            _wait_for_answer(client, url)

            def ask(query: str) -> Any:
                answer = client.post(f"{url}/graphql", json={"query": query}).json()
                assert "errors" not in answer, answer
                return answer["data"]

            yield ask
    finally:
        process.terminate()
        process.wait(20)


def _wait_for_token(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if found := re.search(r"^Token +(\S+)", log.read_text(), re.MULTILINE):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    pytest.fail(f"the demo is not up: {log.read_text()}")


def _wait_for_answer(client: httpx2.Client, url: str) -> None:
    for _ in range(100):
        try:
            if client.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the demo does not answer")


def test_the_queries_give_the_answers_of_the_readme(demo: Ask) -> None:
    pairs = list(zip(blocks("graphql"), blocks("json"), strict=True))
    assert len(pairs) == 4
    for query, text in pairs:
        wanted, given = json.loads(text), demo(query)
        # "A moment later": the worker decides and dispatches in the background.
        deadline = time.monotonic() + 20
        while given != wanted and "query" in query and time.monotonic() < deadline:
            time.sleep(0.1)
            given = demo(query)
        assert given == wanted


def test_the_plugin_is_the_example() -> None:
    assert blocks("python")[0] == (ROOT / "examples/siyu-tea/siyu_tea.py").read_text(encoding="utf-8")


def test_each_alternative_of_the_rule_says_its_own_reason() -> None:
    family = ModuleType("siyu_family")
    born = siyu.AttributeKind("baby_birthday", "宝宝生日", "date"), siyu.AttributeKind("due_date", "预产期", "date")
    exec(blocks("python")[1], vars(siyu) | vars(family), vars(family))
    family.siyu_attributes = siyu.hookimpl(lambda: born, specname="siyu_attributes")  # type: ignore[attr-defined]
    family.siyu_segmenters = siyu.hookimpl(lambda: [family.BabyAge], specname="siyu_segmenters")  # type: ignore[attr-defined]
    due = event("profile.updated", "2026-01-01", due_date="2026-03-15")
    milk = event("order.paid", "2026-06-20", amount=9, items=[{"category": "奶瓶", "amount": 9}])
    for events, reason in (([due, milk], "3 months old"), ([milk], "bought such things 1 times"), ([], None)):
        assert decide(family, events, at="2026-06-30").tags.get("family.baby_0_6") == reason


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_of_the_readme_is_there() -> None:
    listed = set(re.findall(r"`siyu ([a-z]+)", README))
    help_text = subprocess.run([SIYU, "--help"], capture_output=True, text=True, check=True).stdout
    assert {"demo", "import"} < listed
    assert [name for name in listed if not re.search(rf"^│ {name} ", help_text, re.MULTILINE)] == []
