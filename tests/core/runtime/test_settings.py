"""What the environment says, and what it cannot mean."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from siyu.runtime import Settings, SettingsError
from siyu.runtime.settings import masked


def test_without_configuration_the_home_is_in_the_current_directory_and_both_servers_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"REDIS_URL": ""})
    assert settings.home == tmp_path.resolve() / ".siyu"
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.fsync


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env({"SIYU_HOME": "a/../b"}).home == tmp_path.resolve() / "b"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("DATABASE_URL", "postgresql://u@/d?host=/tmp"),
        ("REDIS_URL", "redis://h:1/0"),
        ("REDIS_URL", "rediss://h"),
        ("REDIS_URL", "unix:///tmp/redis.sock"),
    ],
)
def test_a_url_is_kept_as_it_was_written(variable: str, value: str) -> None:
    settings = Settings.from_env({variable: value})
    assert value in (settings.database_url, settings.redis_url)


@pytest.mark.parametrize(
    ("variable", "value", "shown", "remedy"),
    [
        ("DATABASE_URL", "mysql://u:s3cret@h/d", "mysql://u:***@h/d", "postgresql://"),
        ("DATABASE_URL", "localhost", "localhost", "postgresql://"),
        ("REDIS_URL", "http://:s3cret@h", "http://:***@h", "redis://"),
        ("SIYU_EMBEDDED_FSYNC", "perhaps", "perhaps", "boolean"),
        ("SIYU_ENGINE", "abacus", "abacus", "'polars', 'duckdb' or 'spark'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_with_variable_value_and_remedy(
    variable: str, value: str, shown: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    message = str(caught.value)
    assert f"{variable}={shown}:" in message
    assert remedy in message
    assert "s3cret" not in message


def test_a_password_shows_neither_in_the_settings_nor_in_their_errors() -> None:
    assert "s3cret" not in repr(Settings.from_env({"DATABASE_URL": "postgres://u:s3cret@h/d"}))
    with pytest.raises(ValidationError) as caught:
        Settings(database_url="mysql://u:s3cret@h/d")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgres://u:s3c@ret@h/d", "postgres://u@h/d?password=s3c@ret&x=1", "redis://:s3c@ret@h"]
)
def test_a_masked_url_has_no_password(url: str) -> None:
    assert "s3c" not in masked(url)
    assert "ret" not in masked(url)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SIYU_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("SIYU_LOG_LEVEL", "loud", "'debug', 'info'"),
        ("SIYU_DRAIN_SECONDS", "-1", "greater than or equal to 0"),
        ("SIYU_DRAIN_SECONDS", "soon", "valid number"),
        ("SIYU_METRICS_TOKEN", "hunter2", "at least 16 characters"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_it_can_be(variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=variable) as error:
        Settings.from_env({variable: value})
    assert says in str(error.value)
    assert ("hunter2" in str(error.value)) is False


def test_the_token_for_figures_does_not_show() -> None:
    settings = Settings.from_env({"SIYU_METRICS_TOKEN": "0123456789abcdef"})
    assert settings.metrics_token == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(settings)
