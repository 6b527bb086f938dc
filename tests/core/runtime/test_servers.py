"""The servers as siyu processes share them, end well, end badly, and start again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis
from siyu.runtime import Servers
from siyu.runtime.postgres import url


def query(url: str, *statements: str) -> Any:
    """The value of the last statement."""

    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            value = None
            for statement in statements:
                value = await connection.fetchval(statement)
            return value
        finally:
            await connection.close()

    return asyncio.run(run())


def ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it may go while it is looked at
        return True


def test_a_fresh_home_gets_both_servers_and_leaving_takes_them_away(home: Any, eventually: Callable[..., None]) -> None:
    with Servers(home.settings()) as addresses:
        assert query(addresses.database_url, "SHOW listen_addresses") == ""
        assert query(addresses.database_url, "SHOW wal_level") == "minimal"
        assert query(addresses.database_url, "SELECT current_database()") == "siyu"
        with Redis.from_url(addresses.redis_url) as redis:
            assert redis.ping()
        assert addresses.database_embedded
        assert addresses.redis_embedded
        states = [home.state("postgres"), home.state("valkey")]
    eventually(home.quiet)
    for state in states:
        assert ended(state["pid"])
        eventually(lambda supervisor=state["supervisor"]: ended(supervisor))
        assert not Path(state["socket"]).exists()
        assert not Path(state["socket"]).parent.exists()


def test_the_home_is_closed_to_other_users(home: Any, valkey_alone: dict[str, str]) -> None:
    with Servers(home.settings(**valkey_alone)):
        assert home.path.stat().st_mode & 0o077 == 0
        assert (home.path / "valkey").stat().st_mode & 0o077 == 0


def test_what_was_committed_outlives_a_killed_client_and_its_servers_do_not(
    home: Any, client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    process = client()
    socket = Path(home.state("postgres")["socket"])
    pid = home.pid("postgres")
    dsn = f"postgresql://siyu@/siyu?host={socket.parent}&port=5432"
    query(dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")

    process.kill()
    eventually(home.quiet)
    assert ended(pid)
    assert not socket.exists()
    with Servers(home.settings()) as addresses:
        assert query(addresses.database_url, "SELECT n FROM kept") == 42


def test_when_everything_is_killed_the_next_start_recovers(
    home: Any, client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    process = client()
    state = home.state("postgres")
    dsn = f"postgresql://siyu@/siyu?host={Path(state['socket']).parent}&port=5432"
    query(dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")

    # The container is gone: no one shuts anything down, and the next one has the same process ids again.
    os.kill(state["pid"], signal.SIGKILL)
    os.kill(state["supervisor"], signal.SIGKILL)
    process.kill()
    eventually(home.quiet)
    pid_file = home.path / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with Servers(home.settings()) as addresses:
        assert query(addresses.database_url, "SELECT n FROM kept") == 42
        assert query(addresses.database_url, "SELECT count(*) FROM generate_series(1, 10)") == 10


def test_two_processes_share_the_servers_and_the_second_keeps_them_when_the_first_ends(
    home: Any, client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    first = client()
    shared = home.pid("postgres")
    with Servers(home.settings()) as addresses:
        assert home.pid("postgres") == shared
        first.communicate(timeout=20)
        assert first.returncode == 0
        assert query(addresses.database_url, "SELECT 1") == 1
        assert home.pid("postgres") == shared


def test_a_server_that_has_all_the_clients_it_can_have_is_joined_all_the_same(home: Any) -> None:
    with Servers(home.settings()):
        pass
    with (home.path / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("max_connections = 4\nsuperuser_reserved_connections = 0\n")

    async def fill(url: str) -> None:
        connections = [await asyncpg.connect(url) for _ in range(4)]
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(url)
        servers = Servers(home.settings())
        assert (await asyncio.to_thread(servers.start)).database_url == url
        servers.stop()
        for connection in connections:
            await connection.close()

    with Servers(home.settings()) as addresses:
        asyncio.run(fill(addresses.database_url))


def test_servers_of_a_killed_supervisor_end_and_ensure_brings_them_back(
    home: Any, eventually: Callable[..., None]
) -> None:
    servers = Servers(home.settings())
    with servers as addresses:
        assert servers.alive()
        assert servers.ensure() == addresses
        former = home.state("postgres")
        os.kill(former["supervisor"], signal.SIGKILL)
        eventually(lambda: not servers.alive())

        addresses = servers.ensure()
        assert servers.alive()
        assert ended(former["pid"])
        assert home.pid("postgres") != former["pid"]
        assert query(addresses.database_url, "SELECT 1") == 1


def test_a_server_that_dies_alone_is_started_again(
    home: Any, valkey_alone: dict[str, str], eventually: Callable[..., None]
) -> None:
    servers = Servers(home.settings(**valkey_alone))
    with servers as addresses:
        former = home.pid("valkey")
        os.kill(former, signal.SIGKILL)
        eventually(lambda: home.pid("valkey") not in (None, former))
        with Redis.from_url(addresses.redis_url) as redis:
            assert redis.ping()


def test_joining_a_server_that_was_just_killed_waits_for_the_next(home: Any, valkey_alone: dict[str, str]) -> None:
    with Servers(home.settings(**valkey_alone)):
        os.kill(home.pid("valkey"), signal.SIGKILL)
        with Servers(home.settings(**valkey_alone)) as joined, Redis.from_url(joined.redis_url) as redis:
            assert redis.ping()


def test_a_server_that_keeps_dying_is_given_up_and_the_log_says_so(
    home: Any, valkey_alone: dict[str, str], eventually: Callable[..., None]
) -> None:
    servers = Servers(home.settings(**valkey_alone))
    with servers:
        supervisor = home.state("valkey")["supervisor"]
        while not ended(supervisor):
            pid = home.pid("valkey")
            if pid is not None and not ended(pid):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        assert "ChildProcessError: it ended by itself (-9)" in (home.path / "log" / "valkey.log").read_text()
        assert not servers.alive()


def test_a_supervisor_told_to_end_stops_its_server(
    home: Any, valkey_alone: dict[str, str], eventually: Callable[..., None]
) -> None:
    with Servers(home.settings(**valkey_alone)):
        state = home.state("valkey")
        os.kill(state["supervisor"], signal.SIGTERM)
        eventually(lambda: ended(state["supervisor"]))
        assert ended(state["pid"])
        assert not Path(state["socket"]).exists()


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(home: Any, valkey_alone: dict[str, str]) -> None:
    with Servers(home.settings(**valkey_alone)):
        assert os.getsid(home.state("valkey")["pid"]) != os.getsid(0)


def test_many_processes_that_start_at_once_get_one_server(
    home: Any, client: Callable[..., Any], valkey_alone: dict[str, str]
) -> None:
    async def start() -> None:
        await asyncio.gather(*(asyncio.to_thread(client, **valkey_alone) for _ in range(3)))

    asyncio.run(start())
    log = (home.path / "log" / "valkey.log").read_text()
    assert log.count("Ready to accept connections") == 1


def test_starting_and_leaving_in_turns_never_meets_a_server_that_is_going(
    home: Any, valkey_alone: dict[str, str]
) -> None:
    settings = home.settings(**valkey_alone)

    def use() -> None:
        for _ in range(3):
            with Servers(settings) as addresses, Redis.from_url(addresses.redis_url) as redis:
                assert redis.ping()

    async def both() -> None:
        await asyncio.gather(asyncio.to_thread(use), asyncio.to_thread(use))

    asyncio.run(both())


def test_urls_of_ones_own_are_used_as_they_are(home: Any, tmp_path: Path) -> None:
    with Servers(home.settings()) as own:
        env = {"SIYU_HOME": str(tmp_path / "other"), "DATABASE_URL": own.database_url}
        servers = Servers(type(home)(tmp_path / "other").settings(**env, REDIS_URL=own.redis_url))
        with servers as addresses:
            assert addresses.database_url == own.database_url
            assert addresses.redis_url == own.redis_url
            assert not addresses.database_embedded
            assert not addresses.redis_embedded
            assert servers.alive()
            assert query(addresses.database_url, "SELECT 1") == 1
        assert not (tmp_path / "other").exists()
        assert query(own.database_url, "SELECT 1") == 1


def test_pgport_in_the_environment_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    address = url(Path("/nowhere/.s.PGSQL.5432"))
    assert "port=5432" in address
    with pytest.raises(FileNotFoundError):
        query(address)
