"""What Polars is told about memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "kept"), [(None, "dirty_decay_ms:10000"), ("dirty_decay_ms:77", "dirty_decay_ms:77")]
)
def test_memory_is_kept_for_the_next_frame_unless_the_environment_says_otherwise(given: str | None, kept: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    env |= {} if given is None else {"_RJEM_MALLOC_CONF": given}
    # Polars puts its own before what it finds: had it come first, nothing would stand behind that.
    code = "import siyu, os; print(os.environ['_RJEM_MALLOC_CONF'])"
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith(f",{kept}")
