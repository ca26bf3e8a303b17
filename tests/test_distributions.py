"""Every wheel and sdist, as it would be published: what it holds, what it says of itself, what it leaves out."""

from __future__ import annotations

import ast
import configparser
import email
import email.message
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/gancore/gancore"
PLUGINS = {path.parent.name: path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))}
FOLDERS = {"gancore": ROOT, **PLUGINS}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
LABELS = {"Homepage", "Documentation", "Source", "Changelog", "Issues"}

every_distribution = pytest.mark.parametrize("name", FOLDERS)


def project(name: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    return table


def package(name: str) -> Path:
    """The folder of the modules that a distribution installs."""
    return ROOT / "gancore" if name == "gancore" else FOLDERS[name] / "src" / f"gancore_{name}"


def files(folder: Path, below: Path) -> set[str]:
    """The files of a folder, as paths from another one, without what Python leaves there."""
    return {str(path.relative_to(below)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def requirements(name: str) -> set[str]:
    """The distributions that one requires, with and without its extras, and what those of this repository require."""
    table = project(name)
    lines = [*table["dependencies"], *(line for extra in table.get("optional-dependencies", {}).values() for line in extra)]
    direct = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in lines}
    ours = {requirement for requirement in direct if requirement.startswith("gancore")}
    folders = (requirement.removeprefix("gancore-plugin-") for requirement in ours)
    return direct.union(*(requirements(folder) for folder in folders if name != "gancore"))


class Built:
    """A distribution's wheel and sdist.

    Attributes:
        wheel: The files of the wheel by name, without its metadata folder.
        metadata: The files of the wheel's metadata folder by name in it.
        sdist: The files of the sdist, as paths in its one folder.
        about: The wheel's core metadata.
    """

    def __init__(self, out: Path) -> None:
        (wheel,) = out.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = {info.filename: archive.read(info) for info in archive.infolist()}
        self.metadata = {path.split(".dist-info/")[1]: data for path, data in content.items() if ".dist-info/" in path}
        self.wheel = {path: data for path, data in content.items() if ".dist-info/" not in path}
        self.about: email.message.Message = email.message_from_bytes(self.metadata["METADATA"])
        (sdist,) = out.glob("*.tar.gz")
        with tarfile.open(sdist) as tar:
            self.sdist = {member.name.split("/", 1)[1] for member in tar if member.isfile()}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Every distribution, built: the sdist from its folder, and the wheel from that sdist."""
    pytest.importorskip("build", reason="the package `build` makes wheels and sdists")
    pytest.importorskip("hatchling", reason="the build backend, which is not fetched during a test")
    distributions: dict[str, Built] = {}
    for name, folder in FOLDERS.items():
        out = tmp_path_factory.mktemp(f"dist-{name}")
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        distributions[name] = Built(out)
    return distributions


@every_distribution
def test_a_wheel_holds_its_package_whole_and_nothing_else(name: str, built: dict[str, Built]) -> None:
    folder = package(name)
    assert set(built[name].wheel) == files(folder, folder.parent)
    written = {path for path in built[name].wheel if path.endswith(".toml")}
    assert len(written) == len([*folder.glob("recipes/*.toml"), *folder.glob("tables/*.toml")])


@every_distribution
def test_a_wheel_and_an_sdist_hold_the_license(name: str, built: dict[str, Built]) -> None:
    license_text = (ROOT / "LICENSE").read_bytes()
    assert built[name].metadata["licenses/LICENSE"] == license_text
    assert (FOLDERS[name] / "LICENSE").read_bytes() == license_text
    assert "LICENSE" in built[name].sdist


@every_distribution
def test_an_sdist_holds_its_own_sources_and_tests_and_no_others(name: str, built: dict[str, Built]) -> None:
    folder = FOLDERS[name]
    own = files(package(name), folder) | files(folder / "tests", folder)
    also = {"README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    also |= {"CHANGELOG.md", "CITATION.cff"} if name == "gancore" else set()
    assert built[name].sdist == own | also


@every_distribution
def test_a_distribution_says_typed_and_is(name: str, built: dict[str, Built]) -> None:
    typed = "Typing :: Typed" in built[name].about.get_all("Classifier", [])
    assert typed
    assert f"{package(name).name}/py.typed" in built[name].wheel


@every_distribution
def test_a_distribution_says_what_an_index_shows(name: str, built: dict[str, Built]) -> None:
    about = built[name].about
    assert about["Name"] == ("gancore" if name == "gancore" else f"gancore-plugin-{name}")
    assert about["License-Expression"] == "MIT"
    assert about.get_all("License-File") == ["LICENSE"]
    assert about["Requires-Python"] == ">=3.11"
    assert about["Keywords"]
    assert about["Summary"]
    urls = dict(line.split(", ") for line in about.get_all("Project-URL", []))
    assert set(urls) == LABELS
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    prefix = "Programming Language :: Python :: 3."
    versions = [line for line in about.get_all("Classifier", []) if line.startswith(prefix)]
    assert versions == [f"Programming Language :: Python :: {python}" for python in PYTHONS]


@every_distribution
def test_the_links_of_a_distribution_work_on_an_index_and_lead_to_files(name: str, built: dict[str, Built]) -> None:
    about = built[name].about
    assert about["Description-Content-Type"] == "text/markdown"
    page = str(about.get_payload())
    assert page.startswith(f"# {about['Name']}\n")
    links = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r"^\[[^\]]+\]: (\S+)$", page, re.MULTILINE)
    urls = [line.split(", ")[1] for line in about.get_all("Project-URL", [])]
    assert [link for link in links if not link.startswith("https://")] == []
    for link in [*links, *urls]:
        inside = re.fullmatch(r"https://[^/]+/gancore/gancore/(?:(blob|tree)/)?main/([^#]+)(?:#.*)?", link)
        if inside:
            path = ROOT / inside[2]
            assert path.is_dir() if inside[1] == "tree" else path.is_file(), link


@every_distribution
def test_the_labels_of_a_page_are_defined(name: str) -> None:
    page = re.sub(r"```.*?```|`[^`]*`|^ {4}.*?$", "", (FOLDERS[name] / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    defined = set(re.findall(r"^\[([^\]]+)\]: ", page, re.MULTILINE))
    body = re.sub(r"^\[[^\]]+\]: .*$", "", page, flags=re.MULTILINE)
    full = re.findall(r"\]\[([^\]]+)\]", body)
    short = re.findall(r"(?<!\])\[([^\]]+)\](?![\[(])", body)
    # A short label is a link only where it is defined; elsewhere it is a bracket, as in an interval.
    assert set(full) <= defined <= {*full, *short}


@every_distribution
def test_a_distribution_registers_one_plugin_but_for_two(name: str, built: dict[str, Built]) -> None:
    entries = configparser.ConfigParser()
    entries.read_string(built[name].metadata.get("entry_points.txt", b"").decode())
    if name == "gancore":
        assert dict(entries["console_scripts"]) == project(name)["scripts"]
    elif name in (
        "testing",
        "survey",
    ):  # core's tests, which no plugin may be needed for, use the one; the other brings plugins
        assert entries.sections() == []
    else:
        assert dict(entries["gancore"]) == {name: f"gancore_{name}"}


@every_distribution
def test_a_distribution_requires_what_it_imports(name: str) -> None:
    distribution_of = {"PIL": "pillow", "sklearn": "scikit-learn"}
    imported = {distribution_of.get(module, module) for path in package(name).rglob("*.py") for module in imports(path)}
    ours = {module for module in imported if module.split("_")[0] == "gancore"}
    own = package(name).name
    requires = requirements(name)
    needed = {module.replace("gancore_", "gancore-plugin-") for module in ours - {own}} | (imported - ours)
    assert {module.replace("_", "-") for module in needed} - requires == set()


def imports(path: Path) -> Iterator[str]:
    """The modules outside the standard library that a file imports, by the first word of their names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[0] for name in names if name.split(".")[0] not in sys.stdlib_module_names)


def test_the_extra_all_brings_every_plugin() -> None:
    everything = {re.split(r"[\[<>=]", line)[0] for line in project("gancore")["optional-dependencies"]["all"]}
    assert everything == {f"gancore-plugin-{name}" for name in PLUGINS}


def test_workflows_and_hooks_run_what_the_distributions_say() -> None:
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    (matrix,) = re.findall(r"^ +python: (\[.*\])$", workflow, re.MULTILINE)
    assert ast.literal_eval(matrix) == PYTHONS
    (hook,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert f"ruff=={hook}\n" in (ROOT / "constraints.txt").read_text()
