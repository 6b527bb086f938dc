"""Run all benchmarks at a size for a coffee break: ``python -m benchmarks`` (``make bench``)."""

from __future__ import annotations

import runpy

for name in ("refresh", "ingest"):
    print(f"\n== benchmarks.{name}")
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
