"""Figures of several processes, as one of them tells them. Each test has processes of its own: sharing is for life."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from siyu.telemetry import metrics
metrics.share(Path(sys.argv[1]))
metrics.EVENTS.labels("new").inc(int(sys.argv[2]))
metrics.CONNECTIONS.labels("used").set(3)
metrics.JOBS.labels("decide", "done").observe(0.02)
print("ready", flush=True)
if sys.stdin.readline():
    print(metrics.exposition("")[0].decode(), flush=True)
"""


class Process:
    def __init__(self, folder: Path, events: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, folder, str(events)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def ends(self) -> str:
        """The figures as it tells them before it ends."""
        return self._process.communicate("tell\n", timeout=20)[0]

    def dies(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=20)


def test_one_process_answers_for_all(tmp_path: Path) -> None:
    one, other = Process(tmp_path / "m", 2), Process(tmp_path / "m", 5)
    told = one.ends()
    other.dies()
    assert 'siyu_events_total{outcome="new"} 7.0' in told
    assert 'siyu_database_connections{state="used"} 6.0' in told
    assert 'siyu_job_seconds_count{job="decide",outcome="done"} 2.0' in told


def test_of_the_dead_what_they_did_stays_and_what_they_held_goes(tmp_path: Path) -> None:
    one, other = Process(tmp_path, 2), Process(tmp_path, 5)
    other.dies()
    told = one.ends()
    assert 'siyu_events_total{outcome="new"} 7.0' in told
    assert 'siyu_database_connections{state="used"} 3.0' in told


def test_the_first_process_to_come_begins_anew(tmp_path: Path) -> None:
    Process(tmp_path, 2).ends()
    assert 'siyu_events_total{outcome="new"} 5.0' in Process(tmp_path, 5).ends()
