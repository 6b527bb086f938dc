"""One embedded server as a siyu process sees it: attach, use, let go."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from . import supervisor
from .errors import ServerError, explained
from .place import Place
from .supervisor import Spec, answers, try_lock

START_SECONDS = 300.0  # a crash recovery reads up to max_wal_size of log
STOP_SECONDS = 10.0
UNANSWERED = f"has not answered for {START_SECONDS:.0f} s"


class Service:
    """An embedded server, shared with the other siyu processes of the same home.

    `plan` prepares the server's directories and says how to start it; it is called only if nobody has.
    """

    def __init__(self, place: Place, plan: Callable[[], Spec], url: Callable[[Path], str]) -> None:
        self.place = place
        self._plan = plan
        self._url = url
        self._client: int | None = None

    def attach(self) -> str:
        """Count as a user of the server, start it if nobody has, and return its URL once it answers."""
        self.place.prepare()
        former = self._client
        with explained(self.place.run):
            self._client = self._lock("clients.lock", fcntl.LOCK_SH)
            if former is not None:
                os.close(former)
            try:
                with self._exclusively("start.lock"):
                    return self._url(self._find_or_start())
            except BaseException:
                self.release()
                raise

    def release(self) -> bool:
        """No longer count as a user; whether we were the last one, so that the server ends now."""
        client, self._client = self._client, None
        if client is None:
            return False
        try:
            fcntl.flock(client, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(client)  # not unlocked: a forked child may hold it too

    def wait_until_ended(self) -> None:
        """Wait for the server that we were the last to use, but not long, nor if a newcomer took it over."""
        began = time.monotonic()
        while self._supervised() and time.monotonic() - began < STOP_SECONDS:
            if self._state_file.exists() and time.monotonic() - began > 1:
                return
            time.sleep(0.01)

    def alive(self) -> bool:
        """Whether the server answers, as far as its supervisor knows; takes microseconds."""
        return self._state_file.exists() and self._supervised()

    @property
    def _state_file(self) -> Path:
        return self.place.run / "state.json"

    @property
    def _spec_file(self) -> Path:
        return self.place.run / "spec.json"

    def _find_or_start(self) -> Path:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self._supervised():
                self._state_file.unlink(missing_ok=True)  # of a supervisor that was killed
                self._start()
            # Asked, because a server that was just killed may not have been missed yet.
            if self._state_file.exists() and answers(spec := self._spec()):
                return Path(spec.socket)
            time.sleep(0.02)  # somebody's supervisor is about to be ready
        raise self._failure(UNANSWERED, self._log_size() - 4000)

    def _start(self) -> None:
        self._spec_file.write_text(json.dumps(asdict(self._plan()), indent=1))
        logged = self._log_size()
        with self.place.log.open("ab") as log:
            try:
                # A session of its own, so that Ctrl-C in the terminal does not reach it.
                answer = subprocess.run(
                    [sys.executable, "-I", "-S", supervisor.__file__, str(self._spec_file)],
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    timeout=START_SECONDS,
                    check=False,
                ).stdout
            except subprocess.TimeoutExpired:
                raise self._failure(UNANSWERED, logged) from None
        message = json.loads(answer) if answer else {"error": "the supervisor ended without a word"}
        if "error" in message:
            raise self._failure(f"did not start: {message['error']}", logged)

    def _spec(self) -> Spec:
        return Spec(**json.loads(self._spec_file.read_text()))

    def _failure(self, problem: str, since: int) -> ServerError:
        with self.place.log.open("rb") as log:
            log.seek(max(since, 0))
            text = log.read().decode(errors="replace")
        return ServerError.from_log(f"{self.place.name} in {self.place.data} {problem}", text, self.place.log)

    def _log_size(self) -> int:
        return self.place.log.stat().st_size

    def _supervised(self) -> bool:
        try:
            free = try_lock(self.place.run / "supervisor.lock", fcntl.LOCK_SH)
        except OSError:
            return False  # the home is gone
        if free is not None:
            os.close(free)
        return free is None

    def _lock(self, name: str, operation: int) -> int:
        lock = try_lock(self.place.run / name, operation, START_SECONDS)
        if lock is None:
            raise ServerError(
                f"{self.place.run / name} has been locked for {START_SECONDS:.0f} s",
                f"see {self.place.log}; end the process that holds it (fuser {self.place.run / name})",
            )
        return lock

    @contextmanager
    def _exclusively(self, name: str) -> Iterator[None]:
        lock = self._lock(name, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(lock)
