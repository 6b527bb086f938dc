"""Logs: one form for siyu's own lines and those of the libraries, with what they are about.

Modules log through :mod:`logging` as ever. ``bound`` says what the lines within a block are about, ``bind`` adds to it
once it is known; neither names people. What may be a secret or a person's is struck out before a line is written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import structlog

__all__ = ["Format", "begin", "bind", "bound", "configure", "scrubbed"]

Format = Literal["text", "json"]

_about: ContextVar[dict[str, Any] | None] = ContextVar("siyu_log", default=None)

OWN = ("kind", "outcome", "seconds")
"""What siyu's own lines carry beside their text; libraries carry more than anybody reads."""
TALKATIVE = ("arq", "tortoise", "uvicorn")
"""Libraries whose information is of interest only to those who debug: what siyu does it says itself."""
MOST_LETTERS = 20_000
"""Of one value in a line: an error may quote all that was sent."""


@contextmanager
def bound(**about: Any) -> Iterator[None]:
    """What the lines within the block are about, beside what they already are."""
    token = _about.set({**(_about.get() or {}), **about})
    try:
        yield
    finally:
        _about.reset(token)


def begin(**about: Any) -> None:
    """What the lines of this task are about from now on, as in a block that ends with it."""
    _about.set({**(_about.get() or {}), **about})


def bind(**about: Any) -> None:
    """Add to what the lines of the innermost block are about; without a block, nothing.

    The block sees it also when a task within it says so, as resolvers do.
    """
    current = _about.get()
    if current is not None:
        current.update(about)


def configure(form: Format = "text", level: str = "warning", stream: TextIO | None = None) -> None:
    """Write lines of ``level`` and above to ``stream`` (standard error), in place of what was configured before."""
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(OWN),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_what_it_is_about,
        # To text here: structlog's own renderings show the local variables of each frame.
        structlog.processors.format_exc_info,
        _scrub,
    ]
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in TALKATIVE:
        logging.getLogger(library).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)


def scrubbed(text: str) -> str:
    """``text`` without what may be a secret or a person's."""
    for pattern, put in _STRUCK:
        text = pattern.sub(put, text)
    return text


_STRUCK = (
    (re.compile(r"\bsiyu_([0-9a-f]{8})_[\w-]+"), r"siyu_\1_…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), r"\1 …"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "eyJ…"),
    (re.compile(r"(://[^:/@\s]*:)\S*@"), r"\1…@"),
    # PostgreSQL quotes the row.
    (re.compile(r"(?m)^(DETAIL|CONTEXT|HINT|QUERY): .*$"), r"\1: …"),
    (re.compile(r"(?m)(Key \([^)]*\)=)\(.*?\)"), r"\1(…)"),
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "…@…"),
    # A telephone number; a moment or an id of a request has other neighbours.
    (re.compile(r"(?<![\w.:-])(\+?\d{2}[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\w.:-])"), "…"),
)


def _with_what_it_is_about(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for name, value in (_about.get() or {}).items():
        line.setdefault(name, value)
    return line


def _scrub(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = scrubbed(value[:MOST_LETTERS])
    return line
