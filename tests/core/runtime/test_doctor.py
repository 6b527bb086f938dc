"""The doctor finds what is well and what is not."""

import asyncio
from typing import Any

from siyu.runtime import Servers, Settings
from siyu.runtime.doctor import Check, examine


def test_a_healthy_home(home: Any) -> None:
    with Servers(home.settings()):
        checks = asyncio.run(examine(home.settings()))
    assert [check.name for check in checks] == ["python", "home", "postgres", "valkey"]
    assert all(check.ok and check.remedy is None for check in checks), checks
    details = {check.name: check.detail for check in checks}
    assert details["postgres"].startswith("PostgreSQL 18")
    assert f"embedded in {home.path / 'postgres'}" in details["postgres"]
    assert " ms, " in details["postgres"]
    assert details["valkey"].startswith("Valkey 9")
    assert str(home.path) in details["home"]


def test_servers_of_ones_own_that_do_not_answer_are_told_from_the_rest(home: Any, tmp_path: Any) -> None:
    settings = home.settings(
        DATABASE_URL=f"postgresql://u:s3cret@/d?host={tmp_path}", REDIS_URL=f"unix://{tmp_path}/redis.sock"
    )
    checks = {check.name: check for check in asyncio.run(examine(settings))}
    for name, variable in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")):
        assert not checks[name].ok
        assert variable in (checks[name].remedy or "")
        assert "s3cret" not in checks[name].detail
    assert checks["python"].ok


def test_a_home_that_is_a_file(home: Any) -> None:
    home.path.write_text("")
    checks = {check.name: check for check in asyncio.run(examine(home.settings()))}
    for name in ("home", "postgres", "valkey"):
        assert not checks[name].ok
        assert "SIYU_HOME" in (checks[name].remedy or "")
    home.path.unlink()


def test_further_examinations_are_asked_too(home: Any, valkey_alone: dict[str, str]) -> None:
    async def plugins(settings: Settings) -> Check:
        return Check("plugins", False, f"none in {settings.home}", "install one")

    settings = home.settings(**valkey_alone, REDIS_URL="unix:///nowhere/redis.sock")
    assert asyncio.run(examine(settings, plugins))[-1].name == "plugins"
