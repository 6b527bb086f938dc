"""Homes that are odd and work, and homes that cannot be used and say why."""

import asyncio
import hashlib
import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis
from siyu.runtime import ServerError, Servers
from siyu.runtime.account import Account, server_account
from siyu.runtime.binaries import valkey
from siyu.runtime.place import Place, own_directory

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="needs root")
only_others = pytest.mark.skipif(ROOT, reason="root may write anywhere")


def parallel_sum(url: str) -> int:
    """A query whose workers are processes of their own, after a crash of one of them."""

    async def run() -> int:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 200000) AS n")
        await connection.execute("ANALYZE numbers")
        await connection.execute("SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0")
        plan = await connection.fetch("EXPLAIN (ANALYZE) SELECT sum(n) FROM numbers")
        assert any("Workers Launched" in row[0] for row in plan)
        total = await connection.fetchval("SELECT sum(n) FROM numbers")
        await connection.close()
        return int(total)

    return asyncio.run(run())


def test_a_path_far_too_long_for_a_socket_works(home: Any, valkey_alone: dict[str, str]) -> None:
    home.path = home.path / ("long" * 30) / ("longer" * 20)
    with Servers(home.settings()) as addresses:
        assert parallel_sum(addresses.database_url) == 20000100000


@pytest.mark.parametrize("name", ["with space, 50%&+", "私域"])
def test_a_path_with_odd_characters_works(home: Any, valkey_alone: dict[str, str], name: str, tmp_path: Path) -> None:
    home.path = tmp_path / name
    with Servers(home.settings(**valkey_alone)) as addresses, Redis.from_url(addresses.redis_url) as redis:
        assert redis.ping()


@only_root
def test_below_a_directory_closed_to_the_server_user_everything_works_and_it_stays_closed(
    home: Any, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home.path = closed / "home"
    above = {directory: directory.stat().st_mode for directory in closed.parents}
    for _ in range(2):
        with Servers(home.settings()) as addresses:
            uid = Path(f"/proc/{home.pid('postgres')}").stat().st_uid
            assert uid == pwd.getpwnam("nobody").pw_uid
            assert Path(home.state("postgres")["socket"]).stat().st_uid == uid
            groups = Path(f"/proc/{home.pid('postgres')}/status").read_text().split("Groups:")[1].split("\n")[0]
            assert not groups.strip()
            if not (home.path / "done").exists():
                assert parallel_sum(addresses.database_url) == 20000100000
            (home.path / "done").touch()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert {directory: directory.stat().st_mode for directory in closed.parents} == above


@only_root
def test_programs_that_the_server_user_cannot_reach_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = server_account("nobody")
    program = valkey()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    binary = closed / program.parts[0]
    binary.parent.mkdir(parents=True)
    binary.write_bytes(program.path(program.parts[0]).read_bytes())
    binary.chmod(0o700)
    with tempfile.TemporaryDirectory() as tmp:
        Path(tmp).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", tmp)
        hidden = type(program)(closed, program.parts)
        copy = hidden.for_account(nobody)
        assert copy.copied
        run = [str(copy.path(copy.parts[0])), "--version"]
        assert b"Valkey" in subprocess.check_output(run, user=nobody.uid, group=nobody.gid, extra_groups=[])

        made = copy.path(copy.parts[0]).stat().st_ino
        assert hidden.for_account(nobody).path(copy.parts[0]).stat().st_ino == made
        copy.path(copy.parts[0]).unlink()
        assert hidden.for_account(nobody).path(copy.parts[0]).exists()
        copy.site.chmod(0o777)
        with pytest.raises(ServerError, match="made by somebody else"):
            hidden.for_account(nobody)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_a_file_is_an_error_with_a_remedy(home: Any) -> None:
    home.path.write_text("")
    with pytest.raises(ServerError) as caught:
        Servers(home.settings()).start()
    assert str(home.path) in caught.value.problem
    assert "SIYU_HOME" in caught.value.remedy
    home.path.unlink()


def test_a_home_below_a_file_is_an_error_with_a_remedy(home: Any) -> None:
    home.path.write_text("")
    home.path = home.path / "below"
    with pytest.raises(ServerError, match="SIYU_HOME"):
        Servers(home.settings()).start()


@only_others
def test_a_home_that_cannot_be_written_to_is_an_error_with_a_remedy(home: Any) -> None:
    home.path.mkdir(mode=0o500)
    with pytest.raises(ServerError) as caught:
        Servers(home.settings()).start()
    assert "not writable" in caught.value.problem
    assert "belongs to" in caught.value.problem
    assert "SIYU_HOME" in caught.value.remedy


@only_others
def test_a_home_made_by_root_is_an_error_that_names_root(home: Any) -> None:
    home.path = Path("/usr/lib")
    with pytest.raises(ServerError, match="belongs to root"):
        Servers(home.settings()).start()


@only_root
def test_data_of_another_user_is_an_error_that_names_them(home: Any, valkey_alone: dict[str, str]) -> None:
    data = home.path / "valkey"
    data.mkdir(parents=True, mode=0o700)
    os.chown(data, 12345, 12345)
    with pytest.raises(ServerError, match="belongs to user 12345") as caught:
        Servers(home.settings(**valkey_alone)).start()
    assert "SIYU_SERVER_USER" in caught.value.remedy


@only_root
@pytest.mark.parametrize("user", ["root", "nobody-of-this-name"])
def test_a_server_user_that_cannot_be_is_an_error(home: Any, user: str) -> None:
    with pytest.raises(ServerError, match=f"SIYU_SERVER_USER={user}"):
        Servers(home.settings(SIYU_SERVER_USER=user)).start()


def test_data_of_another_postgresql_is_an_error_that_names_both_versions(home: Any) -> None:
    data = home.path / "postgres"
    data.mkdir(parents=True, mode=0o700)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServerError, match=r"made by PostgreSQL 9; the one installed here is \d\d"):
        Servers(home.settings()).start()


def test_a_directory_with_something_else_in_it_is_left_alone(home: Any) -> None:
    data = home.path / "postgres"
    data.mkdir(parents=True, mode=0o700)
    (data / "letter").write_text("dear")
    with pytest.raises(ServerError, match="is not a PostgreSQL data directory"):
        Servers(home.settings()).start()
    assert (data / "letter").read_text() == "dear"


def test_a_start_that_fails_shows_the_last_words_of_the_server(home: Any) -> None:
    with Servers(home.settings()):
        pass
    with (home.path / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = plenty\n")
    with pytest.raises(ServerError) as caught:
        Servers(home.settings()).start()
    assert str(home.path) in caught.value.problem
    assert 'invalid value for parameter "shared_buffers": "plenty"' in caught.value.log
    assert caught.value.log in str(caught.value).replace("\n    ", "\n")


def test_a_start_killed_half_way_leaves_nothing_that_the_next_one_stumbles_over(
    home: Any, client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    process = client(wait=False)
    eventually(lambda: list(home.path.glob("postgres.new-*/PG_VERSION")))
    process.kill()
    with Servers(home.settings()) as addresses:
        assert addresses.database_embedded
    assert not list(home.path.glob("postgres.new-*"))


def test_a_socket_directory_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    account = Account("other", 12345, 12345, drop=False)
    squatted = tmp_path / "siyu-0123"
    squatted.mkdir(mode=0o700)
    with pytest.raises(ServerError, match=f"{squatted} belongs to"):
        own_directory(squatted, account)


def test_a_socket_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    mine = Account("me", os.geteuid(), os.getegid(), drop=False)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ServerError, match="is open to other users"):
        own_directory(tmp_path / "open", mine)


def test_a_link_in_place_of_a_socket_directory_is_refused(tmp_path: Path) -> None:
    mine = Account("me", os.geteuid(), os.getegid(), drop=False)
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ServerError, match="is not a directory"):
        own_directory(tmp_path / "link", mine)


def test_different_homes_have_different_socket_directories(tmp_path: Path) -> None:
    mine = server_account("nobody")
    long = "x" * 100
    one, two = (Place(tmp_path / f"{long}{number}", "valkey").sockets(mine) for number in (1, 2))
    assert one != two
    assert len(os.fsencode(one)) < 86
    for directory in (one, two):
        directory.rmdir()


@pytest.mark.parametrize(
    ("mode", "reachable"), [(0o700, False), (0o710, False), (0o711, True), (0o755, True), (0o717, True)]
)
def test_a_path_is_reachable_if_every_directory_above_may_be_entered(mode: int, reachable: bool) -> None:
    stranger = Account("stranger", 54321, 54321, drop=True)
    with tempfile.TemporaryDirectory(dir="/tmp") as tmp:
        Path(tmp).chmod(mode)
        file = Path(tmp, hashlib.sha256(b"file").hexdigest())
        file.touch(0o644)
        file.chmod(0o644)
        assert stranger.reaches(file) is reachable
