"""The servers that a siyu process needs, embedded or the user's own, as one thing to open and close."""

from dataclasses import dataclass
from types import TracebackType

from . import postgres, valkey
from .settings import Settings


@dataclass(frozen=True)
class Addresses:
    """Where the servers are; `*_embedded` says whether they are siyu's."""

    database_url: str
    """For libpq and asyncpg: `postgresql://siyu@/siyu?host=<socket directory>&port=5432` if embedded."""
    redis_url: str
    """For redis-py: `unix:///<socket>` if embedded."""
    database_embedded: bool
    redis_embedded: bool


class Servers:
    """Use the servers for as long as the `with` block lasts.

        with Servers(Settings.from_env()) as addresses:
            await asyncpg.connect(addresses.database_url)

    Entering blocks until both answer (embedded: about a second the first time, a millisecond if another siyu
    process has them running), so a coroutine enters in a thread (`asyncio.to_thread(servers.start)`). Leaving
    ends the embedded ones unless another siyu process of the same home still uses them, and so does being
    killed. Raises `ServerError`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._postgres = postgres.service(settings)
        self._valkey = valkey.service(settings)
        embedded = [(settings.database_url, self._postgres), (settings.redis_url, self._valkey)]
        self._services = [service for url, service in embedded if not url]
        self._addresses: Addresses | None = None

    def start(self) -> Addresses:
        """What entering the `with` block does, for those who cannot use one."""
        try:
            redis = self.settings.redis_url or self._valkey.attach()
            database = self.settings.database_url or self._postgres.attach()
        except BaseException:
            self.stop()
            raise
        self._addresses = Addresses(
            database,
            redis,
            database_embedded=not self.settings.database_url,
            redis_embedded=not self.settings.redis_url,
        )
        return self._addresses

    def stop(self) -> None:
        """Let the servers go; harmless if they were not started."""
        self._addresses = None
        ending = [service for service in self._services if service.release()]
        for service in ending:
            service.wait_until_ended()

    def alive(self) -> bool:
        """Whether the embedded servers run; cheap, and True where there is none to look after."""
        return self._addresses is not None and all(service.alive() for service in self._services)

    def ensure(self) -> Addresses:
        """Start embedded servers again if their supervisor has gone (out of memory); cheap if all is well.

        A long-running process calls this from time to time, in a thread. A server that died alone is started
        again by its supervisor; this waits for it.
        """
        if self._addresses is None or not self.alive():
            return self.start()
        return self._addresses

    def __enter__(self) -> Addresses:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
