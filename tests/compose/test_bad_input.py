"""Bad input to the components of plugins gets one sentence and exit status 2, as bad input to core does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gancore.cli import main as cli
from gancore.registry.discovery import RESERVED
from plugins.training.tests.test_bad_input import RECIPE, refused
from tests.compose.hosts import installed, registry


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run a command in a folder that holds tiny.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANCORE_DATA", raising=False)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    with installed(registry()):
        yield lambda *words: CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


SETTINGS = {
    "an image size that does not fit": (
        ["networks.generator.use=standard/sndcgan-generator", "data.image_size=12"],
        "networks.generator (standard/sndcgan-generator): the network is for images of a power of two of pixels",
        "at least 8, not 12",
    ),
    "data that are not there": (["data.use=standard/mnist"], "GANCORE_DATA"),
    "a folder of images that is not there": (["data.use=standard/image-folder", "data.path=nowhere"], "nowhere"),
    "more images of a class than there are": (["samplers.few.use=standard/per-class", "samplers.few.count=9999"], "9999"),
    "a class that is not there": (["samplers.take.use=standard/take-classes", "samplers.take.keep=[3, 12]"], "12"),
    "an imbalance ratio below 1": (
        ["samplers.tail.use=standard/long-tail", "samplers.tail.ratio=0.5"],
        "ratio must be a number at least 1, not 0.5",
    ),
    "a class-balancing cycle of nothing": (
        ["networks.classifier.use=host/classifier", "losses.balance.use=cbgan/class-balance", "losses.balance.cycle=0"],
        "losses.balance (cbgan/class-balance): cycle must be a whole number at least 1, not 0",
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_bad_setting(run: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    settings, *sentence = SETTINGS[kind]
    assert isinstance(settings, list)
    refused(run("train", "tiny.toml", "--out", "run", *(word for text in settings for word in ("--set", text))), *sentence)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_images_that_can_not_be_read(run: Callable[..., Result], tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
    words = ["--set", "data.use=standard/image-folder", "--set", "data.path=images", "--set", "data.image_size=8"]
    refused(run("train", "tiny.toml", *words), "images")
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name / "one.png").write_bytes(b"\x89PNG nonsense")
    refused(run("train", "tiny.toml", *words), "one.png")


def test_a_report_on_what_is_no_run(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    refused(run("report", "nothing"), "nothing")


def test_bad_words_of_the_commands_that_show_and_write(run: Callable[..., Result], tmp_path: Path) -> None:
    refused(run("show", "standard/hnige"), "no component or recipe is called 'standard/hnige' (did you mean 'standard/hinge'?)")
    refused(run("new-plugin", "My Plugin"), "'My Plugin' can't be a plugin's name")
    for name in (*RESERVED, "standard"):
        refused(run("new-plugin", name, "--to", tmp_path / "new"), f"'{name}' is the name of something that is installed")
    assert not (tmp_path / "new").exists()
    refused(run("new-plugin", "mine", "--to", "/dev/null/new"), "/dev/null/new can't be written: ", "; choose another --to")
    refused(run("new-plugin", "mine", "--to", tmp_path), "exists already; choose another --to")
    refused(run("explain", "tiny.toml", "--set", "losses.adversarial=false"), "no loss term trains the generator")


@pytest.mark.parametrize("words", [("train", "cbgan/nothing"), ("train", "cbgan/digits-lt", "--set", "run.iterations=0")])
def test_the_real_program_ends_with_status_2_and_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "gancore", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
