"""``gancore recipes``: which recipes it shows, what it says of them, and how wide its lines are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import gancore
from gancore.registry import Registry
from tests.cli.test_cli import run
from tests.hosts import installed

RECIPES = {
    "faces": """summary = "Faces of a folder"
[run]
iterations = 20000
batch_size = 32
[data]
use = "shop/folder"
[networks.judge]
use = "shop/fetched"
trained_by = "shop/judge"
""",
    "faces-wide": 'extends = "shop/faces"\nsummary = "Faces, wider than ever they were"\n[run]\nbatch_size = 128\n',
    "judge": 'summary = "What judges"\n[data]\nuse = "toy"\n',
    "beside": 'extends = "./judge.toml"\nsummary = "Beside a file"\n[run]\niterations = 7\nbatch_size = 2\n',
    "penalty": 'summary = "Fragment: a penalty on the gradient of whatever the discriminator sees of any image, a long text"\n',
    "circle": 'extends = "shop/circle"\nsummary = "It extends itself"\n',
    "broken": "summary = \n",
}


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path) -> Iterator[None]:
    module = ModuleType("shop")

    @gancore.hookimpl
    def gancore_recipes() -> Iterator[Path]:
        yield tmp_path

    @gancore.hookimpl
    def gancore_datasets() -> Iterator[gancore.Component]:
        yield gancore.Component("folder", "a:b", "A folder", group="files")
        yield gancore.Component("toy", "a:b", "A toy")

    @gancore.hookimpl
    def gancore_networks() -> Iterator[gancore.Component]:
        yield gancore.Component("fetched", "a:b", "Weights from elsewhere", group="download")

    @gancore.hookimpl
    def gancore_commands() -> Iterator[gancore.Component]:
        yield gancore.Component("recipes", "gancore_training.listing:recipes", "List")

    for hook in (gancore_recipes, gancore_datasets, gancore_networks, gancore_commands):
        setattr(module, hook.__name__, hook)
    for name, text in RECIPES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    with installed(Registry.of({"shop": module})):
        yield


def marks(*words: str) -> dict[str, str]:
    """Names that are listed, with what stands behind them."""
    lines = [line for line in run("recipes", *words).output.splitlines() if line.startswith("shop/")]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_each_recipe_says_what_it_costs_and_needs() -> None:
    needs = "your files: folder, downloads fetched"
    assert marks() == {
        "shop/beside": "7 x 2",
        "shop/broken": "",
        "shop/circle": "fragment",
        "shop/faces": f"20,000 x 32, {needs}",
        "shop/faces-wide": f"20,000 x 128, {needs}",
        "shop/judge": "helper",
        "shop/penalty": "fragment",
    }
    assert "(broken: " in run("recipes", "shop/broken").output


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["FACES"], {"faces", "faces-wide"}),
        (["faces", "wider"], {"faces-wide"}),
        (["--fragments"], {"circle", "penalty"}),
        (["--fragments", "gradient"], {"penalty"}),
        (["--helpers"], {"judge"}),
        (["--no-helpers", "what"], {"penalty"}),
        (["--no-downloads"], {"beside", "broken", "judge"}),
        (["fetched"], {"faces", "faces-wide"}),
    ],
)
def test_words_and_options_choose(words: list[str], chosen: set[str]) -> None:
    assert set(marks(*words)) == {f"shop/{name}" for name in chosen}


def test_what_nothing_has_is_one_sentence() -> None:
    done = run("recipes", "penaltie")
    assert done.exit_code == 2
    assert done.stderr == "Error: no recipe has all of this (did you mean 'penalty'?); `gancore recipes` lists all 7.\n"


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_every_line_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("recipes").output.splitlines()
    assert max(map(len, lines)) <= columns
    assert "Fragment" not in "".join(lines)
    assert "of whatever the" in " ".join(" ".join(lines).split())
