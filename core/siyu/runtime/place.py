"""Where the parts of one server are, and the directories made for it.

home/<name>/            its data, mode 700, belongs to the user who runs the server
home/log/<name>.log     what it and its supervisor wrote
home/run/<name>/        locks and state, shared by all siyu processes
home/run/<name>/sockets or, where that is too long or out of the server's reach, a directory in /tmp
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .account import Account
from .errors import ANOTHER_HOME, ServerError, explained, owner

# sun_path holds 104 bytes on macOS and 108 on Linux; this leaves room for the longest name, `/.s.PGSQL.5432`.
LONGEST_SOCKET_DIRECTORY = 86
LARGEST_LOG = 10_000_000


@dataclass(frozen=True)
class Place:
    """The directories of the server `name` under one siyu home."""

    home: Path
    name: str

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.home / self.name

    @property
    def run(self) -> Path:
        """Locks and state."""
        return self.home / "run" / self.name

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "log" / f"{self.name}.log"

    def prepare(self) -> None:
        """Make the home and what is shared in it, or say why it cannot be used."""
        if self.home.exists() and not self.home.is_dir():
            raise ServerError(f"{self.home} is a file, not a directory", f"move it away, or {ANOTHER_HOME}")
        with explained(self.home):
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.home, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable", str(self.home))
            # 711: the server passes through to its sockets, if the mode of the home lets it.
            for directory in (self.run.parent, self.run):
                directory.mkdir(mode=0o711, exist_ok=True)
            self.log.parent.mkdir(mode=0o700, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
                self.log.replace(self.log.with_suffix(".log.1"))
            os.close(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))

    def sockets(self, account: Account) -> Path:
        """The directory for the sockets: reachable for the server, short enough, and nobody else's."""
        temporary = (tempfile.gettempdir(), "/tmp", "/var/tmp")
        digest = hashlib.sha256(os.fsencode(self.data) + str(account.uid).encode()).hexdigest()[:12]
        for root, name in ((self.run, "sockets"), *((Path(tmp), f"siyu-{digest}") for tmp in temporary)):
            directory = root / name
            # A comma would split the host of a database URL in two.
            short = len(os.fsencode(directory)) <= LONGEST_SOCKET_DIRECTORY and "," not in str(directory)
            if short and account.reaches(root):
                own_directory(directory, account)
                return directory
        raise ServerError(
            f"{self.run} and {temporary[0]} are too long for sockets or closed to {account.name}",
            "set SIYU_HOME or TMPDIR to a short path that this user can reach",
        )


def own_directory(path: Path, account: Account) -> None:
    """Make `path` a directory of mode 700 that belongs to `account`; one that is there is only checked."""
    with explained(path):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        # Just made, or left by a start that was killed here; a stranger cannot make a directory of root's.
        just_made = status.st_uid == 0 and status.st_mode == stat.S_IFDIR | 0o700 and not any(path.iterdir())
        if account.drop and just_made:
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
            status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ServerError(f"{path} is not a directory", f"move it away, or {ANOTHER_HOME}")
    if status.st_uid != account.uid:
        raise ServerError(
            f"{path} belongs to {owner(path)}, but the server runs as {account.name}",
            f"run siyu as the user who made it (as root: SIYU_SERVER_USER={owner(path)}), or {ANOTHER_HOME}",
        )
    if status.st_mode & 0o077:
        raise ServerError(f"{path} is open to other users", f"chmod 700 {path} once you know who opened it")
