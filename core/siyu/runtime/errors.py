"""What can go wrong before siyu has its servers; every message ends with what to do about it.

RuntimeError
└── ServerError      a server, or the directory it lives in, cannot be used
ValueError
└── SettingsError    an environment variable says something that cannot be meant
"""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

REMEDIES = {
    "shared memory segment": "give the container more shared memory (docker run --shm-size=1g)",
    "anonymous shared memory": "give the machine or container more memory, or lower shared_buffers",
    "/dev/shm": "mount a tmpfs at /dev/shm (docker run --shm-size=1g)",
    "No space left on device": "free some space on that disk, or set SIYU_HOME to another one",
    "could not look up effective user ID": "run siyu as a user that exists in /etc/passwd",
    "Permission denied": "make that file readable for the user who runs the server (SIYU_SERVER_USER)",
}
"""What a server's log says, and what to do about it."""

LOG_LINES = 15
ANOTHER_HOME = "set SIYU_HOME to a directory of your own"


class SettingsError(ValueError):
    """A variable of the environment has a value that cannot be used; the message names it and the remedy."""


class ServerError(RuntimeError):
    """An embedded server cannot be started or used.

    `problem` names the path and what is wrong with it, `remedy` says what to do, `log` holds the last lines
    that the server wrote (empty if it never ran).
    """

    def __init__(self, problem: str, remedy: str, log: str = "") -> None:
        self.problem, self.remedy, self.log = problem, remedy, log
        tail = "".join(f"\n    {line}" for line in log.splitlines())
        if tail:
            tail = f"\nThe server's last words:{tail}"
        super().__init__(f"{problem}. What to do: {remedy}.{tail}")

    @classmethod
    def from_log(cls, problem: str, log: str, path: Path) -> Self:
        """The error of a server that wrote `log` before it ended; `path` is where there is more."""
        remedy = next((remedy for words, remedy in REMEDIES.items() if words in log), f"see {path}")
        return cls(problem, remedy, "\n".join(log.splitlines()[-LOG_LINES:]))


def owner(path: Path) -> str:
    """The name of the user to whom `path` belongs."""
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of the operating system about `path` into a `ServerError` with a remedy."""
    try:
        yield
    except OSError as error:
        raise _explain(error, path) from error


def _explain(error: OSError, path: Path) -> ServerError:
    where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else path
    problem = f"{where} cannot be used: {error.strerror or error}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return ServerError(problem, f"free some space on the disk of {path}, or {ANOTHER_HOME}")
        case errno.ENOTDIR | errno.EEXIST:
            return ServerError(f"{problem} (a file stands where a directory is needed)", ANOTHER_HOME)
        case errno.EACCES | errno.EPERM:
            with suppress(OSError):  # where not even its owner can be seen
                problem += f" ({path} belongs to {owner(path)})"
            return ServerError(problem, f"run siyu as the user who made {path}, or {ANOTHER_HOME}")
    return ServerError(problem, ANOTHER_HOME)
