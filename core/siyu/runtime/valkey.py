"""The embedded Valkey. It keeps nothing: siyu loses nothing when Redis is lost."""

import signal
from pathlib import Path
from urllib.parse import quote

from . import binaries
from .account import server_account
from .place import Place, own_directory
from .service import Service
from .settings import Settings
from .supervisor import Spec

NAME = "valkey"


def service(settings: Settings) -> Service:
    """The Valkey of this home."""
    place = Place(settings.home, NAME)
    return Service(place, lambda: plan(place, settings), url)


def url(socket: Path) -> str:
    """The URL that redis-py and arq understand."""
    return f"unix://{quote(str(socket))}"


def plan(place: Place, settings: Settings) -> Spec:
    """Make or check its directory, and say how to start the server in it."""
    account = server_account(settings.server_user)
    program = binaries.valkey().for_account(account)
    own_directory(place.data, account)
    socket = place.sockets(account) / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",  # a job that is pushed out is a job that is lost
    }
    return Spec(
        name=NAME,
        argv=[
            str(program.path(program.parts[0])),
            *(word for key, value in options.items() for word in (f"--{key}", value)),
        ],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        data=str(place.data),
        run=str(place.run),
        log=str(place.log),
        socket=str(socket),
        hello=b"PING\r\n".hex(),
        welcome=r"\+PONG|-ERR max number of clients",
        stop_signal=signal.SIGTERM,
        become=(account.uid, account.gid) if account.drop else None,
        leftovers=[str(socket)],
        keep=[str(program.site)] if program.copied else [],
    )
