"""``python -m benchmarks`` runs all at a size for a coffee break; ``python -m benchmarks refresh --help`` one."""

from __future__ import annotations

import runpy
import sys

ALL = ("refresh", "ingest", "latency", "campaign", "graphql", "pages", "rules", "rfm")

if len(sys.argv) > 1:
    name = sys.argv.pop(1)
    if name not in ALL:
        sys.exit(f"no benchmark {name!r}; there are: {', '.join(ALL)}")
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
else:
    for name in ALL:
        print(f"\n== {name}")
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
