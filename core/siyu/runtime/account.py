"""The user who runs the servers, and what that user can reach."""

import os
import pwd
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import ServerError


@dataclass(frozen=True)
class Account:
    """A user of the operating system; `drop` says that siyu is root and must become this user first."""

    name: str
    uid: int
    gid: int
    drop: bool

    def reaches(self, path: Path) -> bool:
        """Whether this user may read `path`, by the modes on the way: as root, trying proves nothing."""
        if not self.drop:
            return os.access(path, os.R_OK)
        real = Path(os.path.realpath(path))
        try:
            on_the_way = all(self._may(directory, 0o1) for directory in real.parents)
            return on_the_way and self._may(real, 0o5 if real.is_dir() else 0o4)
        except OSError:
            return False

    def temporary_directory(self) -> Path:
        """A temporary directory that this user can reach; `TMPDIR` may be closed to it."""
        for tmp in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
            if self.reaches(tmp):
                return tmp
        raise ServerError(f"no temporary directory is open to {self.name}", "set TMPDIR to one that is")

    def _may(self, path: Path, bits: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & bits == bits


def server_account(server_user: str) -> Account:
    """Ourselves; as root, the unprivileged `server_user`, for PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), drop=False)
    remedy = "set SIYU_SERVER_USER to an unprivileged user of this machine, or run siyu as one"
    try:
        entry = pwd.getpwnam(server_user)
    except KeyError:
        raise ServerError(f"SIYU_SERVER_USER={server_user}: there is no such user", remedy) from None
    if entry.pw_uid == 0:
        raise ServerError(f"SIYU_SERVER_USER={server_user} is root, as whom PostgreSQL does not run", remedy)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, drop=True)
