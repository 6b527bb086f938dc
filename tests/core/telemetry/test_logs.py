"""Logs: whose lines they are, and what must never be in one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from siyu.telemetry import logs

log = logging.getLogger("siyu.test")
NAME = "李雷"


class Lines(io.StringIO):
    """What was written, a line each."""

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """JSON lines of everything that is logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Lines()
    logs.configure("json", "info", stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def test_a_line_is_an_object_that_says_who_wrote_it_when_and_how_bad_it_is(lines: Lines) -> None:
    log.warning("the queue %s is away", "fast")
    [line] = lines.json()
    assert line["event"] == "the queue fast is away"
    assert (line["level"], line["logger"]) == ("warning", "siyu.test")
    assert line["timestamp"].endswith("Z")


def test_for_people_a_line_is_text(lines: Lines) -> None:
    logs.configure("text", "warning", lines)
    with logs.bound(brand="shop"):
        log.info("nothing of interest")
        log.warning("the queue is away")
    [line] = lines.getvalue().splitlines()
    assert "the queue is away" in line
    assert "brand=shop" in line
    assert "\x1b" not in line, "colours are for terminals"


async def test_a_line_says_what_it_is_about_also_where_a_task_within_found_out(lines: Lines) -> None:
    async def resolver() -> None:
        logs.bind(brand="shop")
        log.info("within")

    with logs.bound(request_id="r1"):
        await asyncio.create_task(resolver())
        with logs.bound(operation="Hi"):
            log.info("further within")
        log.info("after")
    log.info("outside")
    abouts = [{name: line.get(name) for name in ("request_id", "brand", "operation")} for line in lines.json()]
    assert abouts == [
        {"request_id": "r1", "brand": "shop", "operation": None},
        {"request_id": "r1", "brand": "shop", "operation": "Hi"},
        {"request_id": "r1", "brand": "shop", "operation": None},
        {"request_id": None, "brand": None, "operation": None},
    ]


async def test_what_one_task_is_about_is_nothing_to_another(lines: Lines) -> None:
    async def operation(name: str) -> None:
        logs.begin(operation=name)
        await asyncio.sleep(0)
        logs.bind(brand=f"shop of {name}")
        await asyncio.sleep(0)
        log.info(name)

    with logs.bound():
        await asyncio.gather(operation("A"), operation("B"))
    assert [(line["operation"], line["brand"]) for line in lines.json()] == [("A", "shop of A"), ("B", "shop of B")]


@pytest.mark.parametrize(
    ("secret", "stays"),
    [
        ("siyu_0a1b2c3d_AbCdEfGhIjKl-_xyz", "siyu_0a1b2c3d_…"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer …"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJ…"),
        ("postgresql://siyu:p@ss@host/siyu", "postgresql://siyu:…@host/siyu"),
        ("redis://:hunter2@host:6379", "redis://:…@host:6379"),
        ("phone 13912345678 is known", "phone … is known"),
        ("call +86 139-1234-5678", "call …"),
        ("'member': 'li.lei@example.com.cn'", "'member': '…@…'"),
        ("duplicate\nDETAIL:  Key (kind, value)=(openid, o6_x) exists.", "duplicate\nDETAIL: …"),
    ],
)
def test_what_may_be_a_secret_or_a_persons_is_struck_out(lines: Lines, secret: str, stays: str) -> None:
    log.warning("said: %s", secret)
    log.warning("an argument: %r", {"given": secret})
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")
    for line in lines.json():
        assert stays.splitlines()[-1] in line["event"] + line.get("exception", "") or "argument" in line["event"]
    for letters in (secret, secret[4:-4]):
        assert letters not in lines.getvalue()


def test_what_helps_to_find_an_error_stays(lines: Lines) -> None:
    texts = [
        "2026-11-22T03:20:15.471301Z",
        "request 7589cae1a1cb4255bdd425dd83144077",
        "brand 1 of 139 in 1.39123456789 s",
    ]
    for text in texts:
        log.warning(text)
    assert [line["event"] for line in lines.json()] == texts


def test_a_traceback_has_no_values_of_variables(lines: Lines) -> None:
    def fails(name: str) -> None:
        raise RuntimeError("no")

    for form in ("json", "text"):
        logs.configure(form, "info", lines)
        try:
            fails(NAME)
        except RuntimeError:
            log.exception("failed")
    assert lines.getvalue().count("in fails") == 2
    assert NAME not in lines.getvalue()


def test_a_line_is_not_longer_than_anybody_reads(lines: Lines) -> None:
    log.warning("x" * 1_000_000)
    assert len(lines.getvalue()) < logs.MOST_LETTERS + 500
