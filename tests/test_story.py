"""The life of a plugin, as its author and the operators of two brands see it: from the first install to the mending.

The package is really installed, beside the environment and not into it; everything else is the command line and the
API over HTTP. Each start of ``siyu`` is a new process, as after a deployment.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from siyu.runtime import Servers, Settings

SIYU = Path(sys.executable).with_name("siyu")
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "siyu-coffee"
version = "0.1.0"

[project.entry-points.siyu]
coffee = "siyu_coffee"

[tool.hatch.build.targets.wheel]
only-include = ["siyu_coffee.py"]
"""
PLUGIN = '''\
"""Coffee lovers."""
import siyu
from siyu import Count, Field, Segmenter, Tag, hookimpl

class Regulars(Segmenter):
    class Params(siyu.Params):
        least: int = Field(2, ge=1, title="几杯算常客")

    cups = Count("order.paid", where={"category": "coffee"}, days=30)

    def tags(self, p):
        yield Tag("coffee.regular", "咖啡常客", self.cups >= p.least, "{cups} cups in 30 days; regular from {least}")

@hookimpl
def siyu_segmenters():
    return [Regulars]
'''
YIELD = "        yield Tag("
RAISES = PLUGIN.replace(YIELD, f'        raise RuntimeError("no beans")\n{YIELD}')
HANGS = PLUGIN.replace(YIELD, f"        while p.least != 2:\n            pass\n{YIELD}")
"""Under the parameters of one brand only; nothing shows when it is loaded."""

STATUS = '{ brand(slug: "%s") { plugins { name status { state error lastGood since fences { rule } } } } }'
USERS = '{ brand(slug: "%s") { users { nodes { identities { value } tags { key because } stages { key } } } } }'


class Installation:
    """A data directory, a folder of packages, and ``siyu`` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        paths = [str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        more = {"SIYU_HOME": str(folder / "home"), "SIYU_EMBEDDED_FSYNC": "off", "COLUMNS": "200"}
        self.env = {**os.environ, **more, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    def install(self) -> None:
        source = self.folder / "siyu-coffee"
        source.mkdir()
        (source / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        (source / "siyu_coffee.py").write_text(PLUGIN, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--disable-pip-version-check", "--target", self.site, source], check=True)

    def deploy(self, code: str) -> None:
        """Another version of the plugin; the processes that start from now on have it."""
        (self.site / "siyu_coffee.py").write_text(code, encoding="utf-8")

    def __call__(self, *words: str) -> str:
        done = subprocess.run([SIYU, *words], env=self.env, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    @contextmanager
    def served(self, token: str) -> Iterator[Api]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = self.folder / "serve.log"
        with log.open("w") as out:
            command = [str(SIYU), "serve", "--port", str(port)]
            process = subprocess.Popen(command, env=self.env, cwd=self.folder, stdout=out, stderr=out)
        try:
            headers = {"Authorization": f"Bearer {token}"}
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as http:
                until(lambda: _answers(http), f"the server is not up: {log.read_text()}")
                yield Api(http)
        finally:
            process.terminate()
            process.wait(20)


class Api:
    """GraphQL over HTTP."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def ask(self, query: str) -> Any:
        answer = self.http.post("/graphql", json={"query": query}).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def buy(self, brand: str, member: str, category: str, times: int) -> None:
        order = f'kind: "order.paid", payload: {{ amount: 5, items: [{{ category: "{category}", amount: 5 }}] }}'
        user = f'user: [{{ kind: "member", value: "{member}" }}]'
        events = ", ".join(f'{{ id: "{member}-{number}", {order}, {user} }}' for number in range(times))
        self.ask(f'mutation {{ recordEvents(brand: "{brand}", events: [{events}]) {{ accepted }} }}')

    def status(self, brand: str) -> Any:
        plugins = self.ask(STATUS % brand)["brand"]["plugins"]
        return next(plugin["status"] for plugin in plugins if plugin["name"] == "coffee")

    def tags(self, brand: str) -> dict[str, dict[str, str]]:
        """By member: tag and reason."""
        nodes = self.ask(USERS % brand)["brand"]["users"]["nodes"]
        return {n["identities"][0]["value"]: {t["key"]: t["because"] for t in n["tags"]} for n in nodes}

    def stages(self, brand: str) -> dict[str, list[str]]:
        nodes = self.ask(USERS % brand)["brand"]["users"]["nodes"]
        return {node["identities"][0]["value"]: [stage["key"] for stage in node["stages"]] for node in nodes}


def _answers(http: httpx2.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def until(holds: Callable[[], Any], message: str = "it never came") -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


@pytest.fixture
def siyu(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    with Servers(Settings.from_env(made.env)):
        yield made


def test_a_plugin_appears_previews_explains_itself_breaks_alone_and_is_mended(siyu: Installation) -> None:
    for brand in ("one", "two"):
        siyu("brand", "create", brand, "--enable", "lifecycle")
    token = siyu("token", "create", "--role", "admin").strip()
    siyu.install()
    reason = "3 cups in 30 days; regular from 3"

    with siyu.served(token) as api:
        for brand in ("one", "two"):
            api.buy(brand, "ann", "coffee", 3)
            api.buy(brand, "bob", "tea", 3)
            until(lambda brand=brand: all(api.stages(brand).values()))  # type: ignore[misc]
            assert api.status(brand)["state"] == "OFF"

        # What it would do, and that it has not done it.
        params = "params: { regulars: { least: 3 } }"
        ask = f"""{{ brand(slug: "one") {{ previewPlugin(plugin: "coffee", enabled: true, {params}) {{
            tags {{ key proposed enter {{ users samples {{ because }} }} }} }} }} }}"""
        preview = api.ask(ask)["brand"]["previewPlugin"]
        enter = {"users": 1, "samples": [{"because": reason}]}
        assert preview["tags"] == [{"key": "coffee.regular", "proposed": 1, "enter": enter}]
        assert api.tags("one") == api.tags("two") == {"ann": {}, "bob": {}}

        # For one brand, with parameters of its own.
        api.ask(f'mutation {{ configurePlugin(brand: "one", plugin: "coffee", {params}) {{ userErrors {{ code }} }} }}')
        api.ask('mutation { enablePlugin(brand: "one", plugin: "coffee") { userErrors { code } } }')
        until(lambda: api.tags("one")["ann"])
        assert api.tags("one") == {"ann": {"coffee.regular": reason}, "bob": {}}
        assert api.tags("two") == {"ann": {}, "bob": {}}
        until(lambda: api.status("one")["lastGood"])
        good = api.status("one")
        assert (good["state"], good["error"], good["fences"]) == ("ON", None, [])

    told = siyu("explain", "member=bob", "-b", "one")
    assert "✗ 咖啡常客 coffee.regular cups >= 3 (is 0)" in told

    # It raises, whatever it is asked: it is refused when it is loaded, and nothing else is.
    siyu.deploy(RAISES)
    siyu("refresh", "-b", "one")
    listed = siyu("plugin", "list", "-b", "one")
    assert re.search("coffee cannot be loaded: .*no beans", listed)
    assert re.search("coffee.regulars fails since .*no beans", listed)

    # It hangs, for this brand's parameters only.
    siyu.deploy(HANGS)
    with siyu.served(token) as api:
        refused = api.status("one")
        assert (refused["state"], refused["fences"]) == ("FENCED", [{"rule": "regulars"}])
        assert "no beans" in refused["error"], "so it was when it was last asked"
        assert good["lastGood"] <= refused["lastGood"] < refused["since"]
        assert api.tags("one")["ann"] == {"coffee.regular": reason}
        api.ask('mutation { refreshBrand(brand: "one") { queued } }')
        until(lambda: "no answer after 1 s" in api.status("one")["error"])
        fenced = api.status("one")
        assert (fenced["state"], fenced["since"]) == ("FENCED", refused["since"])
        assert api.tags("one")["ann"] == {"coffee.regular": reason}
        # The other rules and the other brand go on, with the same plugin.
        for brand in ("one", "two"):
            api.buy(brand, "eve", "coffee", 3)
        api.ask('mutation { enablePlugin(brand: "two", plugin: "coffee") { userErrors { code } } }')
        until(lambda: api.stages("one").get("eve"))
        until(lambda: api.tags("two").get("eve"))
        assert api.tags("two")["eve"] == {"coffee.regular": "3 cups in 30 days; regular from 2"}
        assert api.status("two")["state"] == "ON"
        assert api.tags("one")["eve"] == {}
        # Trying it again does not help.
        retry = 'mutation { retryPlugin(brand: "one", plugin: "coffee") { plugin { status { state } } } }'
        assert api.ask(retry)["retryPlugin"]["plugin"]["status"]["state"] == "FENCED"

    siyu.deploy(PLUGIN)
    assert "fails since" not in siyu("plugin", "retry", "coffee", "-b", "one")
    with siyu.served(token) as api:
        mended = api.status("one")
        assert (mended["state"], mended["error"], mended["fences"]) == ("ON", None, [])
        assert mended["lastGood"] > fenced["since"]
        regular = {"coffee.regular": reason}
        assert api.tags("one") == {"ann": regular, "bob": {}, "eve": regular}
