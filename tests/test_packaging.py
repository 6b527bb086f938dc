"""Folders, shipped packages, entry points and installed plugins are one list; no machine is named."""

import re
import subprocess
import tomllib
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from siyu.contract.manager import PluginManager

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
DECLARED: dict[str, str] = PYPROJECT["project"]["entry-points"]["siyu"]
BUILT_IN = {"guard": "siyu.engine.guard"}
"""Comes with the core, and is on for every brand."""

REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com|\w+\.debian\.org")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work/main|work/shared)/")


def packages_in(root: str) -> set[str]:
    folders = (folder for folder in (ROOT / root).iterdir() if folder.is_dir())
    return {f"{root}/{folder.name}" for folder in folders if not folder.name.startswith((".", "__"))}


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no git metadata here")
    # root may test another user's checkout, which git refuses to read
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_package_folder_is_shipped() -> None:
    assert packages_in("core") | packages_in("plugins") | packages_in("schema") == set(SHIPPED)


def test_every_plugin_folder_is_an_entry_point_named_after_it() -> None:
    modules = {folder.removeprefix("plugins/") for folder in packages_in("plugins")}
    assert {module.removeprefix("siyu_"): module for module in modules} | BUILT_IN == DECLARED


def test_the_entry_points_installed_are_those_declared() -> None:
    installed = {
        point.name: point.value for point in entry_points(group="siyu") if point.dist and point.dist.name == "siyu"
    }
    assert installed == DECLARED, "pyproject.toml has changed since the install: make test installs again"


def test_every_plugin_of_ours_can_be_loaded() -> None:
    plugins = PluginManager.load().plugins
    assert {name: plugins[name].refused for name in DECLARED} == dict.fromkeys(DECLARED)


def test_what_is_tested_is_this_checkout() -> None:
    origins = {package: find_spec(Path(package).name) for package in SHIPPED}
    elsewhere = {
        package: spec and spec.origin
        for package, spec in origins.items()
        if not (spec and spec.origin and Path(spec.origin).resolve().is_relative_to(ROOT.resolve()))
    }
    assert elsewhere == {}, "PYTHONPATH, or an install of another checkout, leads elsewhere"


def test_the_version_installed_is_the_one_declared() -> None:
    assert version("siyu") == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("package", SHIPPED)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_the_import_contracts_cover_every_package() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]
    everything = {Path(package).name for package in SHIPPED}
    plugins = set(DECLARED.values()) - set(BUILT_IN.values())
    assert set(contracts["root_packages"]) == everything
    core, api, door, apart, _ = contracts["contracts"]
    assert set(core["forbidden_modules"]) == everything - {"siyu"}
    assert set(api["forbidden_modules"]) == set(door["source_modules"]) == set(apart["modules"]) == plugins


def test_there_is_no_lock_file_with_hosts_in_it() -> None:
    assert not (ROOT / "uv.lock").exists()


def test_every_requirement_is_pinned_and_hashed() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8")).replace("\\\n", " ")
        for line in filter(str.strip, text.splitlines()):
            assert re.match(r"\S+==\S+.*--hash=sha256:", line), f"{path.name}: {line}"


def test_no_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="ignore")
        for pattern in (REGISTRY_HOST, MACHINE_PATH):
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []
