"""How many examples the properties are tried on that take long: few while somebody waits for the tests, many when
nobody does (``make test-long``). They have the mark ``examples``."""

from __future__ import annotations

import os

__all__ = ["TIMES", "examples"]

TIMES = int(os.environ.get("SIYU_EXAMPLES", "1"))


def examples(few: int) -> int:
    """So many, or as often as is wanted."""
    return few * TIMES
