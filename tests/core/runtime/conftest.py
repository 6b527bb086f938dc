"""Real servers in a home of their own, and real processes that use them."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from siyu.runtime import Settings
from siyu.runtime.supervisor import try_lock

PROGRAM = """
import sys
from siyu.runtime import Servers, Settings
with Servers(Settings.from_env()) as addresses:
    print(addresses.database_url, flush=True)
    sys.stdin.read()
"""

# For tests of what both servers share, and which need no second one.
VALKEY_ALONE = {"DATABASE_URL": "postgresql://nobody.asks/for-it"}


@dataclass
class Home:
    """A siyu home, and what goes on in it as seen from outside."""

    path: Path

    def env(self, **further: str) -> dict[str, str]:
        return {"SIYU_HOME": str(self.path), "SIYU_EMBEDDED_FSYNC": "off", **further}

    def settings(self, **further: str) -> Settings:
        return Settings.from_env(self.env(**further))

    def state(self, name: str) -> dict[str, Any]:
        """Process ids and socket of a running server."""
        run = self.path / "run" / name
        socket = json.loads((run / "spec.json").read_text())["socket"]
        return {**json.loads((run / "state.json").read_text()), "socket": socket}

    def pid(self, name: str) -> int | None:
        """The process id of a server that answers."""
        try:
            return int(self.state(name)["pid"])
        except FileNotFoundError:
            return None

    def quiet(self) -> bool:
        """No supervisor and no process of a server is left: each holds a lock for as long as it lives."""
        for lock in self.path.glob("run/*/*.lock"):
            fd = try_lock(lock, fcntl.LOCK_EX)
            if fd is None:
                return False
            os.close(fd)
        return True


Eventually = Callable[[Callable[[], Any]], None]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until a condition holds, or fail."""

    def wait(condition: Callable[[], Any], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.02)

    return wait


@pytest.fixture
def home(tmp_path: Path, eventually: Eventually) -> Iterator[Home]:
    """A home, in which nothing may be left running."""
    home = Home(tmp_path / "home")
    yield home
    eventually(home.quiet)


Client = subprocess.Popen[str]


@pytest.fixture
def client(home: Home) -> Iterator[Callable[..., Client]]:
    """Start another siyu process in the home; it lets go and ends when its standard input is closed."""
    clients: list[Client] = []

    def start(*, wait: bool = True, **further: str) -> Client:
        env = {**os.environ, **home.env(**further), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", PROGRAM]
        process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        clients.append(process)
        assert process.stdout is not None
        assert not wait or process.stdout.readline(), "it ended before its servers answered"
        return process

    yield start
    for process in clients:
        with suppress(BrokenPipeError):
            process.communicate(timeout=20)


@pytest.fixture
def valkey_alone() -> dict[str, str]:
    """Environment in which only Valkey is embedded."""
    return VALKEY_ALONE
