"""The process that owns one embedded server, so that several siyu processes can share it.

It lives exactly as long as somebody holds `clients.lock`, which every siyu process holds shared and the
kernel lets go even at `kill -9`. It is run by its path in an isolated interpreter, so the standard library is
all it has.

The locks (flock) in the run directory:

    clients.lock     shared: a siyu process uses the server; exclusive: nobody does, the server is stopping
    start.lock       exclusive: a siyu process is looking for the supervisor, or starting it
    supervisor.lock  exclusive: the supervisor lives
    server.lock      held through a descriptor that the server inherits: some process of the server lives
"""

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
DEATHS_ALLOWED = 5
DEATHS_WITHIN = 60.0
STOP_SECONDS = 120.0  # a fast shutdown writes a checkpoint first

# Looked up here, as little as possible should happen between fork and exec. macOS has nothing like it.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class Spec:
    """One server: how to start it, how to tell that it answers, how to stop it."""

    name: str
    argv: list[str]
    env: dict[str, str]
    data: str
    """Working directory of the server, entered before it becomes another user."""
    run: str
    log: str
    socket: str
    hello: str
    """Said on the socket (hex) until the answer matches `welcome` (a regular expression)."""
    welcome: str
    stop_signal: int
    become: tuple[int, int] | None
    """User and group id to run as, if not our own."""
    leftovers: list[str]
    """Files that a killed server leaves and the next one stumbles over."""
    keep: list[str]
    """Directories held locked, which systemd-tmpfiles respects when it cleans /tmp."""


def try_lock(path: Path, operation: int, seconds: float = 0.0) -> int | None:
    """A descriptor that holds `path` locked, or None if others did for `seconds`."""
    fd = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                return None
            time.sleep(0.01)
        except BaseException:
            os.close(fd)
            raise


def answers(spec: Spec) -> bool:
    """Whether the server serves, which is more than that it listens."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(2.0)
        connection.connect(spec.socket)
        connection.sendall(bytes.fromhex(spec.hello))
        answered = re.match(spec.welcome, connection.recv(4096).decode("latin-1"), re.DOTALL) is not None
        # Left politely, or the server notes a broken connection.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
        return answered
    return False


class Supervisor:
    """Starts the server, keeps it running while it has clients, and stops it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.run = Path(spec.run)
        self.state = self.run / "state.json"
        self.stopping = False
        self.reported = False
        self.server: subprocess.Popen[bytes] | None = None

    def supervise(self) -> None:
        """Run until nobody is left, we are told to stop, or the server cannot be kept alive."""
        deaths: list[float] = []
        ready, started = False, time.monotonic()
        try:
            server = self._launch()
            while not self.stopping and not self._abandoned():
                now = time.monotonic()
                if server.poll() is not None:
                    self.state.unlink(missing_ok=True)
                    deaths = [*(death for death in deaths if now - death < DEATHS_WITHIN), now]
                    if not self.reported or len(deaths) > DEATHS_ALLOWED:
                        raise ChildProcessError(f"it ended by itself ({server.returncode})")
                    log(f"{self.spec.name} ended by itself ({server.returncode}); starting it again")
                    server = self._launch()
                    ready, started = False, now
                elif not ready and answers(self.spec):
                    ready = True
                    self._write_state(server.pid)
                    self.report({"ready": True})
                # A server in recovery logs each question, so they come less and less often.
                time.sleep(0.1 if ready else min(0.01 + (now - started) / 4, 1.0))
        finally:
            self._stop()

    def report(self, message: dict[str, object]) -> None:
        """Tell the siyu process that started us, once; it reads until the end of the file."""
        if self.reported:
            return
        self.reported = True
        with suppress(BrokenPipeError):  # killed since; others may be waiting for the server
            os.write(1, json.dumps(message).encode())
        os.dup2(2, 1)

    def _launch(self) -> subprocess.Popen[bytes]:
        spec = self.spec
        lock = self._server_lock()
        for leftover in spec.leftovers:
            Path(leftover).unlink(missing_ok=True)
        os.truncate(lock, 0)
        parent = os.getpid()

        def die_with_parent() -> None:
            # Set after the change of user, which would clear it, and too late if the parent has died already.
            if _prctl is not None:
                _prctl(PR_SET_PDEATHSIG, spec.stop_signal, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)

        uid, gid = spec.become or (None, None)
        with Path(spec.log).open("ab") as output:
            self.server = subprocess.Popen(
                spec.argv,
                cwd=spec.data,
                env=spec.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                pass_fds=(lock,),
                preexec_fn=die_with_parent,
            )
        os.pwrite(lock, str(self.server.pid).encode(), 0)
        os.close(lock)  # from now on the server alone holds it
        return self.server

    def _server_lock(self) -> int:
        """Wait for the last process of a server that outlived its supervisor; on macOS it has to be told."""
        path = self.run / "server.lock"
        lock = try_lock(path, fcntl.LOCK_EX)
        if lock is None:
            if _prctl is None:
                with suppress(ValueError, OSError):
                    os.kill(int(path.read_text()), self.spec.stop_signal)
            lock = try_lock(path, fcntl.LOCK_EX, STOP_SECONDS)
        if lock is None:
            raise TimeoutError(f"the former server ({path.read_text()}) does not end")
        return lock

    def _abandoned(self) -> bool:
        # Once got, the lock is kept to the end: newcomers wait, and then start afresh.
        return try_lock(self.run / "clients.lock", fcntl.LOCK_EX) is not None

    def _write_state(self, pid: int) -> None:
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps({"pid": pid, "supervisor": os.getpid()}))
        new.replace(self.state)

    def _stop(self) -> None:
        self.state.unlink(missing_ok=True)
        server = self.server
        if server is not None and server.poll() is None:
            server.send_signal(self.spec.stop_signal)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log(f"{self.spec.name} does not stop; killing it")
                server.kill()
                server.wait()
        sock = Path(self.spec.socket)
        sock.unlink(missing_ok=True)
        with suppress(OSError):
            sock.parent.rmdir()


def log(message: str) -> None:
    """Write to the log that the server writes to as well."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    print(moment, "[supervisor]", message, file=sys.stderr, flush=True)


def main(path: str) -> None:
    """Detach, take the place of the supervisor if it is free, and supervise."""
    if os.fork():
        os._exit(0)  # the siyu process has a child that ended, and none to look after
    spec = Spec(**json.loads(Path(path).read_text()))
    supervisor = Supervisor(spec)

    def stop(*_: object) -> None:
        supervisor.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    # Two seconds, because a siyu process that looks whether we live holds this lock for a moment.
    living = try_lock(supervisor.run / "supervisor.lock", fcntl.LOCK_EX, 2.0)
    if living is None:
        supervisor.report({"busy": True})
        return
    for directory in spec.keep:
        try_lock(Path(directory), fcntl.LOCK_SH)
    try:
        supervisor.supervise()
    except Exception as error:
        log(f"{type(error).__name__}: {error}")
        supervisor.report({"error": str(error)})
    os.close(living)  # before clients.lock: who gets that one must not find a supervisor


if __name__ == "__main__":
    main(sys.argv[1])
