"""The authors' page is a ladder whose code is one plugin: built from the page, it passes the conformance suite and trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "writing-a-plugin.md"
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PATH = re.compile(r"# ([\w/.-]+\.(?:py|toml))\b.*\n")


def files_of_the_page() -> dict[str, str]:
    """Return the files that the page's blocks make up, each block named by its first line; several make up one file."""
    files: defaultdict[str, str] = defaultdict(str)
    for _, block in BLOCK.findall(PAGE.read_text()):
        path = PATH.match(block)
        if path is not None:
            files[path[1]] += block.removeprefix(path[0]) + "\n\n"
    return files


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ladder")
    for name, text in files_of_the_page().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {module}" for name, module in project["entry-points"]["gancore"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[gancore]", *points, ""]))
    return folder


def python(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "GANCORE_CACHE": str(package / "cache")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=package, env=environment, capture_output=True, text=True, check=False
    )


def trained(package: Path, name: str, *words: str) -> Path:
    short = ["--set", "run.iterations=4", "--set", "run.evaluate_every=0", "--set", "evaluation.samples=64", "--device", "cpu"]
    done = python(package, "gancore", "train", "ladder/digits", *short, *words, "--out", name)
    assert done.returncode == 0, done.stderr
    return package / name


def fragments_of_the_page() -> list[str]:
    """Return the blocks without a path: pieces of a recipe."""
    return [block for _, block in BLOCK.findall(PAGE.read_text()) if PATH.match(block) is None]


@pytest.mark.parametrize("block", fragments_of_the_page(), ids=lambda block: block.splitlines()[0])
def test_a_block_without_a_path_is_a_fragment_that_trains(package: Path, block: str) -> None:
    name = f"fragment-{len(block)}"
    (package / f"{name}.toml").write_text(block)
    trained(package, name, "--with", f"./{name}.toml")


def test_the_pages_plugin_passes_the_conformance_suite(package: Path) -> None:
    done = python(package, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_conformance.py")
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\d{2,} passed", done.stdout)


@pytest.mark.parametrize("fragment", ["r1", "penalty", "spread"])
def test_each_fragment_of_the_page_trains(package: Path, fragment: str) -> None:
    run = trained(package, fragment, "--with", f"ladder/{fragment}")
    assert f'use = "ladder/{fragment if fragment == "spread" else "r1"}"' in (run / "recipe.toml").read_text()


@pytest.mark.parametrize(
    "assignment",
    [
        "losses.drift.use=ladder/drift",
        "samplers.classes.use=ladder/inverse",
        "latent.use=ladder/ring",
        "loop.use=ladder/replay",
        "metrics.learned.use=ladder/learned",
        "losses.adversarial.schedule.use=ladder/ramp",
        'run.accelerate=["ladder/one-thread"]',
    ],
)
def test_each_component_of_the_page_trains(package: Path, assignment: str) -> None:
    run = trained(package, re.sub(r"\W", "-", assignment), "--set", assignment)
    assert assignment.split("=")[-1].strip('[]"') in (run / "recipe.toml").read_text()


def test_the_observer_of_the_page_writes_a_line_for_each_line_of_the_log(package: Path) -> None:
    run = trained(package, "observed", "--set", "run.log_every=1", "--track", "ladder")
    lines = (run / "losses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["1", "2", "3", "4"]
    assert all(len(line.split(",")) == 3 for line in lines)


def test_the_attack_of_the_page_raises_the_loss_within_its_budget(package: Path) -> None:
    run = trained(package, "attacked", "--set", "attacks.step.use=ladder/one-step", "--set", "losses.adversarial.use=hinge")
    assert 'use = "ladder/one-step"' in (run / "recipe.toml").read_text()


def test_the_defense_of_the_page_stands_in_front_of_what_a_run_trained(package: Path) -> None:
    words = ["--set", "heads.classes.use=auxiliary-classifier", "--set", "losses.classes.use=auxiliary-classifier"]
    words += ["--set", "losses.classes.players=['discriminator']"]
    run = trained(package, "defended", *words)
    done = python(package, "gancore", "attack", str(run), "--epsilon", "0.1", "--defense", "ladder/noise", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "ladder/noise" in (run / "attacks.jsonl").read_text()
