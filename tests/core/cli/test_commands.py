"""The command line as a user types it, with real servers: in this process, or in one of its own where that is told."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import siyu_rfm
from siyu.cli import COMMANDS, app, commands, session
from siyu.cli.session import err, out
from siyu.contract.manager import PluginManager
from siyu.runtime import Addresses, Servers, Settings
from typer.main import get_group
from typer.testing import CliRunner

SIYU = Path(sys.executable).with_name("siyu")
LOG = """\
 00001 19970101  1   11.77
 00002 19970112  1   12.00
 00002 19970112  5   77.00
 00003 19970102  2   20.76
 00003 19971330  2   20.76
broken
"""


class Shell:
    """Runs ``siyu`` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SIYU_HOME": str(folder / "home"), "SIYU_EMBEDDED_FSYNC": "off"}

    def __call__(self, *words: str, status: int = 0) -> str:
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, words, env=self.env, catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.stderr

    def process(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """As :meth:`__call__`, from a process of its own."""
        return subprocess.run([SIYU, *words], env={**os.environ, **self.env, **env}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def siyu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("cli"))
    with pytest.MonkeyPatch.context() as patch:
        for console in (out, err):
            patch.setattr(console, "width", 160)
        # Held for the module, so that each command joins servers that run.
        with Servers(Settings.from_env(shell.env)):
            yield shell


def test_a_purchase_log_that_nobody_prepared_gives_rfm_tags(siyu: Shell) -> None:
    (siyu.folder / "log.txt").write_text(LOG)
    siyu("brand", "create", "cdnow", "--replay", "--enable", "rfm", "--enable", "lifecycle")
    words = ["import", "log.txt", "-b", "cdnow", "--no-header", "--user", "member=1", "--at", "2"]
    words += ["--at-format", "%Y%m%d", "-f", "quantity=3", "-f", "amount=4"]
    first = siyu(*words)
    assert "6 lines: 4 new events, 0 known already, 2 refused" in first
    assert re.search(r"rfm\.high_value\s+1", first)
    status = siyu("status", "-b", "cdnow")
    assert re.search(r"rfm\.high_value.*1 .*1997-01-12 00:00.*0:00:00", status)
    rejects = (siyu.folder / "log.txt.rejects.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rejects] == ["line", "5", "6"]
    assert "0 new events, 4 known already" in siyu(*words)
    assert "3 users decided, 0 changes" in siyu("refresh", "-b", "cdnow", "--engine", "duckdb")
    abacus = siyu("refresh", "-b", "cdnow", "--engine", "abacus", status=2)
    assert "--engine abacus: use polars, duckdb, spark" in abacus

    silent = {"fact": [{"plugin": "rfm", "rule": "rfm", "name": "recency", "gte": 5}]}
    siyu("segment", "create", "silent", json.dumps(silent), "-b", "cdnow", "--title", "一阵子没来")
    [segment] = json.loads(siyu("segment", "list", "-b", "cdnow", "--json"))
    assert (segment["name"], segment["title"], segment["filter"]) == ("silent", "一阵子没来", silent)
    assert "2 users as of 1997-01-12 00:00" in siyu("segment", "count", "silent", "-b", "cdnow")
    assert "`brand.segments` lists them" in siyu("segment", "count", "loud", "-b", "cdnow", status=2)

    states = json.loads(siyu("plugin", "states", "rfm", "-b", "cdnow", "--json"))
    assert [(state["rule"], state["current"]) for state in states] == [("rfm", True)]
    assert "users decided" in siyu("plugin", "pin", "rfm", states[0]["version"], "-b", "cdnow")
    assert "now, pinned" in siyu("plugin", "states", "rfm", "-b", "cdnow")
    siyu("plugin", "release", "rfm", "-b", "cdnow")
    assert "kept to no state" in siyu("plugin", "release", "rfm", "-b", "cdnow", status=2)
    assert "fits no rules" in siyu("plugin", "release", "lifecycle", "-b", "cdnow", status=2)


def test_plugins_are_switched_and_configured(siyu: Shell) -> None:
    siyu("brand", "create", "pets")
    assert re.search(r"beauty .* skin_type", siyu("plugin", "list"))
    assert "users decided" in siyu("plugin", "enable", "lifecycle", "-b", "pets")
    siyu("plugin", "configure", "lifecycle", '{"lifecycle": {"dormant_days": 45}}', "-b", "pets")
    assert '"dormant_days": 45' in siyu("plugin", "list", "-b", "pets")
    wrong = siyu("plugin", "configure", "lifecycle", '{"lifecycle": {"dormant_day": 45}}', "-b", "pets", status=2)
    assert "lifecycle.dormant_day" in wrong
    assert "dormant_days" in wrong
    assert "not a JSON object" in siyu("plugin", "configure", "lifecycle", "[1]", "-b", "pets", status=2)
    siyu("plugin", "disable", "lifecycle", "-b", "pets")
    assert "which nothing gives" not in siyu("plugin", "enable", "mother_baby", "-b", "pets")
    empty = siyu("plugin", "configure", "mother_baby", '{"next_products": {"products": []}}', "-b", "pets")
    told = (
        "! mother_baby.next_stage asks for the tag 'mother_baby.next_*', which nothing gives (mother_baby would give it"
    )
    assert told in empty
    assert told in siyu("plugin", "list", "-b", "pets")
    siyu("plugin", "disable", "mother_baby", "-b", "pets")
    assert json.loads(siyu("refresh", "-b", "pets", "--json")) == {
        "users": 0, "changes": 0, "actions": 0, "fences": []
    }  # fmt: skip


def test_what_fails_is_told_by_whatever_decides_and_by_the_list(siyu: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, *_: object) -> None:
        raise OverflowError("too much")

    siyu("brand", "create", "fails", "--enable", "rfm")
    assert "fails" not in siyu("refresh", "-b", "fails")
    loaded, well = session.installed_plugins, siyu_rfm.CustomerBase.tags

    def installed() -> PluginManager:
        # Broken once it is loaded: else it would be refused.
        monkeypatch.setattr(siyu_rfm.CustomerBase, "tags", well)
        plugins = loaded()
        monkeypatch.setattr(siyu_rfm.CustomerBase, "tags", broken)
        return plugins

    monkeypatch.setattr(session, "installed_plugins", installed)
    assert re.search(r"rfm.customer_base fails since .*: OverflowError: too much", siyu("refresh", "-b", "fails"))
    [fence] = json.loads(siyu("refresh", "-b", "fails", "--json"))["fences"]
    assert (fence["plugin"], fence["rule"], fence["error"]) == ("rfm", "customer_base", "OverflowError: too much")
    assert re.search(r"│ rfm +│.*│ on, fails │", siyu("plugin", "list", "-b", "fails"))
    replayed = siyu("replay", "-b", "fails", "--since", f"{datetime.now(UTC) - timedelta(days=8):%Y-%m-%d}")
    assert re.search(r"rfm.customer_base fails at 2 of 2 moments, .* decides nothing there: OverflowError", replayed)


def test_what_messages_say_is_shown_set_and_previewed(siyu: Shell) -> None:
    (siyu.folder / "one.txt").write_text(LOG)
    siyu("brand", "create", "says", "--name", "茶铺", "--replay", "--enable", "lifecycle")
    words = ["import", "one.txt", "-b", "says", "--no-header", "--user", "member=1", "--at", "2"]
    siyu(*words, "--at-format", "%Y%m%d", "-f", "quantity=3", "-f", "amount=4")
    key = "lifecycle.welcome_back.send_1"
    assert [each["key"] for each in json.loads(siyu("template", "list", "-b", "says", "--json"))] == [key]
    assert "好久不见" in siyu("template", "preview", key, "member=00002", "-b", "says")
    assert "Version 1" in siyu("template", "set", key, "{{ name }}，{{ brand }}想您了", "-b", "says")
    assert siyu("template", "preview", key, "member=00002", "-b", "says") == "朋友，茶铺想您了\n"
    siyu("template", "voice", "-b", "says", '{"called": {"zh": "茶友"}}')
    assert siyu("template", "preview", key, "member=00002", "-b", "says", "--text", "{{ name }}好") == "茶友好\n"
    assert "names are: user.nickname" in siyu("template", "set", key, "{{ user.nickmane }}", "-b", "says", status=2)
    siyu("template", "end", key, "-b", "says")
    siyu("playbook", "start", "lifecycle.welcome_back", "may", "-b", "says", "--user", "member=00002")
    assert json.loads(siyu("playbook", "calendar", "-b", "says", "--json")) == []
    assert "playbook" in siyu("playbook", "calendar", "-b", "says")
    assert re.search(r"2 .*\(ended\)", siyu("template", "show", key, "-b", "says"))
    assert "好久不见" in siyu("template", "preview", key, "member=00002", "-b", "says")


def test_tasks_and_benefits_are_looked_after(siyu: Shell) -> None:
    siyu("brand", "create", "inbox")
    assert json.loads(siyu("task", "list", "-b", "inbox", "--json")) == {"tasks": [], "after": None}
    assert "has no task 7" in siyu("task", "take", "7", "-b", "inbox", status=2)
    assert "statuses are" in siyu("task", "list", "-b", "inbox", "--status", "gone", status=2)
    siyu("benefit", "set", "tea", "-b", "inbox", "--stock", "500", "--title", "一泡茶", "--days", "14")
    assert re.search(r"tea .*一泡茶.* 0 .* 500 .* 14 ", siyu("benefit", "list", "-b", "inbox"))
    assert "stock" in siyu("benefit", "set", "tea", "-b", "inbox", "--stock", "-1", status=2)


def test_why_what_if_and_what_would_have_been_are_shown(siyu: Shell) -> None:
    (siyu.folder / "small.txt").write_text(LOG)
    siyu("brand", "create", "small", "--replay", "--enable", "lifecycle")
    words = ["import", "small.txt", "-b", "small", "--no-header", "--user", "member=1", "--at", "2"]
    siyu(*words, "--at-format", "%Y%m%d", "-f", "quantity=3", "-f", "amount=4")

    tree = siyu("explain", "member=00002", "-b", "small", "--at", "1997-03-01")
    assert re.search(r"✓ 休眠 dormant last interaction 48 days ago", tree)
    assert "✗ 流失 lost silent >= 90 (is 48)" in tree
    assert "(not tried)" in tree
    found = json.loads(siyu("explain", "member=00002", "-b", "small", "--json"))
    assert found["tracks"][0]["stage"] == found["tracks"][0]["stands"]["key"] == "growth"

    facts = json.loads(siyu("facts", "member=00002", "-b", "small", "--at", "1997-03-01", "--json"))
    silent = next(fact for fact in facts if fact["name"] == "silent")
    assert (silent["plugin"], silent["rule"], silent["value"], silent["text"]) == ("lifecycle", "lifecycle", 48, "48")
    assert re.search(
        r"silent.*days since interaction.*48", siyu("facts", "member=00002", "-b", "small", "--at", "1997-03-01")
    )
    assert "installed are" in siyu("facts", "member=00002", "-b", "small", "--plugin", "rmf", status=2)

    sooner = '{"lifecycle": {"dormant_days": 5, "stay_days": 0}}'
    shown = siyu("plugin", "preview", "lifecycle", sooner, "-b", "small")
    assert re.search(r"休眠.*dormant.*0.*2.*\+ 2 lifecycle.growth", shown)
    assert re.search(r"member=0000\d: ", shown)
    assert "Nothing was written" in shown
    off = json.loads(siyu("plugin", "preview", "lifecycle", "-b", "small", "--disable", "--json"))
    assert (off["users"], {stage["proposed"] for stage in off["stages"]}) == (3, {0})
    assert "nothing would change" in siyu("plugin", "preview", "lifecycle", "-b", "small", status=2)

    words = ["replay", "-b", "small", "--since", "1997-01-03", "--every", "3", "--plugin", "lifecycle"]
    assert re.search(r"dormant.*0.*▁▁▁▁.*2.*▁▅██", siyu(*words, "--params", sooner))
    assert "intro" not in siyu(*words, "--params", sooner)
    assert "stages are at every moment the same under both" in siyu(*words, "--params", sooner)
    assert len(json.loads(siyu(*words, "--params", sooner, "--json"))["points"]) == 4
    assert "write a day like" in siyu("replay", "-b", "small", "--since", "soon", status=2)
    assert "KIND=VALUE" in siyu("explain", "00002", "-b", "small", status=2)


def test_playbooks_are_listed_drawn_and_started(siyu: Shell) -> None:
    (siyu.folder / "few.txt").write_text(LOG)
    siyu("brand", "create", "few", "--replay", "--enable", "lifecycle")
    words = ["import", "few.txt", "-b", "few", "--no-header", "--user", "member=1", "--at", "2"]
    siyu(*words, "--at-format", "%Y%m%d", "-f", "quantity=3", "-f", "amount=4")
    [listed] = json.loads(siyu("playbook", "list", "-b", "few", "--json"))
    assert (listed["name"], listed["trigger"].split(":")[0]) == ("lifecycle.welcome_back", "lifecycle")
    name = ("lifecycle.welcome_back", "-b", "few")
    assert "outbox" in siyu("playbook", "show", *name)
    assert siyu("playbook", "show", *name, "--mermaid").startswith("flowchart TD")
    start = ("playbook", "start", "lifecycle.welcome_back", "may", "-b", "few")
    assert "1 users came in, 1 actions planned" in siyu(*start, "--user", "member=00001")
    told = siyu("why", "--user", "member=00001", "-b", "few")
    assert "1 actions planned" in told
    [number] = re.findall(r"(\d+)  \d\d-\d\d \d\d:\d\d lifecycle.welcome_back", told)
    assert "held  quiet: 安静时段" in siyu("why", number, "-b", "few")
    assert "give an action's number, or --user" in siyu("why", "-b", "few", status=2)
    siyu("segment", "create", "all", "{}", "-b", "few")
    assert "2 users came in, 2 actions planned" in siyu(*start, "--segment", "all")
    assert "give --segment" in siyu(*start, status=2)
    assert "no channel 'email'" in siyu("receive", "email", "-b", "few", status=75)
    siyu("plugin", "enable", "email", "-b", "few")
    assert "password_env" in siyu("receive", "email", "-b", "few", status=75)
    siyu("plugin", "configure", "email", '{"email": {"password_env": "SIYU_EMAIL_FEW"}}', "-b", "few")
    siyu.env["SIYU_EMAIL_FEW"] = "secret"
    assert "0 reports taken in" in siyu("receive", "email", "-b", "few")
    ahead = siyu("playbook", "preview", *name, "--days", "3")
    assert "in 3 days" in ahead
    assert "pass the guard" in ahead
    assert "on are: lifecycle.welcome_back" in siyu("playbook", "show", "lifecycle.nothing", "-b", "few", status=2)


def test_documents_are_registered_all_or_none_listed_and_removed(siyu: Shell) -> None:
    pages = siyu.folder / "pages"
    pages.mkdir()
    (pages / "version.graphql").write_text("query Version { version }")
    (pages / "wrong.graphql").write_text("{ nothing }")
    assert "wrong.graphql: Cannot query field 'nothing'" in siyu("documents", "register", "pages", status=2)
    assert "version.graphql" not in siyu("documents", "list")
    (pages / "wrong.graphql").unlink()
    id, name = siyu("documents", "register", "pages").split()
    assert (id[:7], name) == ("sha256:", "version.graphql")
    assert id in siyu("documents", "list")
    assert "trusted no longer" in siyu("documents", "remove", id)
    assert "no documents" in siyu("documents", "remove", id, status=2)


def test_a_token_is_shown_once_and_can_be_revoked(siyu: Shell) -> None:
    secret = siyu("token", "create", "--role", "viewer", "--name", "front end").strip()
    prefix = secret.split("_")[1]
    listed = siyu("token", "list")
    assert prefix in listed
    assert secret not in listed
    siyu("token", "revoke", prefix)
    assert "revoked" in siyu("token", "list")
    assert "roles are" in siyu("token", "create", "--role", "king", status=2)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["refresh", "-b", "nobody"], "siyu brand list"),
        (["plugin", "enable", "nothing", "-b", "nobody"], "siyu brand list"),
        (["brand", "create", "Not A Slug"], "lower-case"),
        (["brand", "create", "moon", "--zone", "Moon/Base"], "Asia/Shanghai"),
        (["brand", "create", "stars", "--enable", "horoscope"], "installed are"),
    ],
)
def test_a_mistake_is_answered_with_the_remedy(siyu: Shell, words: list[str], remedy: str) -> None:
    message = siyu(*words, status=2)
    assert remedy in message
    assert "Traceback" not in message


def test_the_doctor_finds_everything_well(siyu: Shell, addresses: Addresses) -> None:
    assert "embedded" in siyu("doctor")
    own = siyu.process("doctor", DATABASE_URL=addresses.database_url, REDIS_URL=addresses.redis_url)
    assert own.returncode == 0, own.stderr
    assert "embedded in" not in own.stdout


def test_a_home_that_cannot_be_is_an_error_with_a_remedy(siyu: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = siyu.process("brand", "list", SIYU_HOME=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "SIYU_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_shown_as_it_is_and_names_what_is_wrong(siyu: Shell) -> None:
    assert "no time zone '[red]Mars[/]'" in siyu("brand", "create", "mars", "--zone", "[red]Mars[/]", status=2)
    siyu("brand", "create", "errors")
    for text, says in (("[1]", "params: '[1]' is not a JSON object"), ('{"rfm": {"method": "\\u0000"}}', "with a NUL")):
        assert says in siyu("plugin", "configure", "rfm", text, "-b", "errors", status=2)
    assert "siyu plugin states rfm" in siyu("plugin", "pin", "rfm", "x", "-b", "errors", status=2)


def test_a_change_is_signed_by_who_gave_the_command(siyu: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    siyu("brand", "create", "signed", "--enable", "rfm")
    assert re.search(r"cli:ann .* rfm ", siyu("plugin", "history", "-b", "signed"))


def test_two_users_are_merged_shown_and_parted(siyu: Shell) -> None:
    siyu("brand", "create", "people", "--replay", "--enable", "lifecycle")
    for kind, value in (("openid", "o"), ("phone", "139")):
        name = siyu.folder / f"{kind}.csv"
        name.write_text(f"who,day,amount\n{value},2026-01-0{len(kind)},5\n")
        siyu("import", str(name), "-b", "people", "--user", f"{kind}=who", "--at", "day", "-f", "amount=amount")
    done = siyu("user", "merge", "openid=o", "phone=139", "-b", "people", "--why", "she said so")
    [number] = re.findall(r"siyu user unmerge (\d+) -b people", done)
    assert "2 orders so far" in siyu("explain", "phone=139", "-b", "people")
    assert "are two again" in siyu("user", "unmerge", number, "-b", "people")
    assert re.search(rf"{number} .*she said so.*by cli", siyu("user", "merges", "-b", "people"))


def test_help_lists_the_commands_as_they_say_of_themselves(siyu: Shell) -> None:
    own = {name: (command.help or "").partition("\n")[0] for name, command in get_group(commands.app).commands.items()}
    assert own == COMMANDS
    shown = " ".join(siyu("--help").split())
    assert all(re.search(rf"│ {name} +{text[:20]}", shown) for name, text in COMMANDS.items())


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["brnad", "list"]])
def test_help_and_a_slip_of_the_finger_are_answered_without_loading_what_commands_work_with(
    siyu: Shell, words: list[str]
) -> None:
    done = siyu.process(*words, PYTHONPROFILEIMPORTTIME="1")
    assert (done.returncode, "Did you mean 'brand'" in done.stderr) == (
        (2, True) if words[0] == "brnad" else (0, False)
    )
    assert "siyu.cli" in done.stderr
    assert not re.search(r"siyu\.(flow|store|cli\.)|tortoise|asyncpg", done.stderr)


def test_what_only_the_api_needs_is_not_loaded_by_other_commands(siyu: Shell) -> None:
    done = siyu.process("brand", "list", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert "siyu.cli" in done.stderr
    assert "strawberry" not in done.stderr
