"""The notebook of the documentation, and the examples of the page about Python, run as they are printed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

import gancore
from tests.compose.notebook import NOTEBOOK, cells, executed

PAGE = NOTEBOOK.with_name("python.md")


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """What each cell shows when the notebook runs, with short trainings, and its names at the end."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ITERATIONS", "8")
        patch.setenv("GANCORE_CACHE", str(folder / "cache"))
        ran = list(executed())
        names = ran[-1][2]
        names["record"] = (names["bright"].path / "environment.json").read_text()
    return [outputs for _, outputs, _ in ran], names


def kinds(outputs: list[dict[str, Any]]) -> list[list[str]]:
    return [sorted(output.get("data", {"text": ""})) for output in outputs]


def test_the_notebook_runs_and_shows_what_it_was_stored_with(tour: tuple[list[list[dict[str, Any]]], dict[str, Any]]) -> None:
    shown, names = tour
    assert [kinds(outputs) for outputs in shown] == [kinds(cell["outputs"]) for cell in cells()]
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(shown) + 1))
    assert (names["plain"].iteration, names["longer"].iteration) == (8, 10)
    assert names["both"].recipe["losses"].keys() == {"adversarial", "entropy", "entropy_between"}
    assert "class Brightness(gancore.LossTerm):" in names["record"]


def test_pictures_of_the_notebook_are_small_and_no_path_of_whoever_ran_it_is_in_it() -> None:
    text = NOTEBOOK.read_text()
    pictures = [base64.b64decode(code) for code in re.findall(r"data:image/png;base64,([\w+/=]+)", text)]
    assert len(pictures) >= 4
    assert all(picture.startswith(b"\x89PNG") and len(picture) < 40_000 for picture in pictures)
    outputs = json.dumps([cell["outputs"] for cell in cells()])
    assert "/tmp" not in re.sub(r"base64,[\w+/=]+", "", outputs)
    assert "Error" not in re.sub(r"base64,[\w+/=]+", "", outputs)


def test_the_brightness_that_the_notebook_asks_for_shows_in_its_outputs() -> None:
    (means,) = [cell["outputs"][0]["data"]["text/plain"] for cell in cells() if "class Brightness" in "".join(cell["source"])]
    plain, bright = json.loads("".join(means))
    assert plain < bright
    assert abs(bright - 0.5) < abs(plain - 0.5)


def test_the_examples_of_the_page_about_python_run_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    text = PAGE.read_text()
    names: dict[str, Any] = {}
    # The annotator that scores is trained first, which is not what the page is about.
    plain = gancore.train
    short = {"networks.annotator.trained_with": ["run.iterations=2"], "evaluation.samples": 10}

    def train(*arguments: Any, **keywords: Any) -> Any:
        return plain(*arguments, **{**keywords, "set": {**short, **keywords.get("set", {})}})

    monkeypatch.setattr(gancore, "train", train, raising=False)
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
    assert names["run"].recipe["losses"]["center"]["use"] == "python:Center"
    assert names["longer"].iteration == 60
    assert gancore.load("runs/entropy").recipe["losses"]["entropy"]["weight"] == 0.5
    for name in re.findall(r"^\| `run\.(\w+)", text, re.MULTILINE):
        assert hasattr(names["run"], name)
