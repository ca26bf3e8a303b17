"""A newcomer's first hour: wheels in a fresh environment, pictures of their own, a recipe, a run, and what comes out of it.

Each step is a command of its own process in an environment that knows nothing of this repository; the libraries are those of
the environment that the tests run in.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.compose.test_third_party import Environment, wheel_of
from tests.test_distributions import FOLDERS

BROUGHT = ("gancore", "training", "standard", "report", "export")
SHORT = ["--set", "run.batch_size=8", "--set", "evaluation.samples=40", "--set", "run.evaluate_every=0"]


class Newcomer:
    """Somebody at a shell, in a folder of their own.

    Attributes:
        home: The folder.
        environment: Where gancore is installed.
        errors: What the last command said on standard error.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = Environment(home / "venv")
        self.errors = ""
        for name in BROUGHT:
            self.environment.install(wheel_of(FOLDERS[name], home / "wheels" / name))

    def types(self, *words: str) -> str:
        """Run a command of gancore that must succeed, and return what it prints."""
        done = self.environment("gancore", *words, cwd=self.home)
        assert done.returncode == 0, done.stdout + done.stderr
        self.errors = done.stderr
        return done.stdout

    def scores(self) -> list[dict[str, float]]:
        lines = (self.home / "runs/mine/scores.jsonl").read_text().splitlines()
        return [json.loads(line)["scores"] for line in lines]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    pytest.importorskip("build", reason="the package `build` makes the wheels")
    return Newcomer(tmp_path_factory.mktemp("home"))


def draw(folder: Path, number: int, mode: str, ending: str, base: tuple[int, int, int]) -> None:
    """Write pictures of many sizes: a disc on a ground, or, with an alpha channel, a disc alone."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    for place in range(number):
        width, height = rng.integers(12, 40, 2)
        y, x = np.mgrid[:height, :width]
        disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) * rng.uniform(0.2, 0.4)) ** 2
        pixels = np.where(disc[..., None], base, rng.integers(0, 60, 3)).astype(np.uint8)
        alpha = np.where(disc, 255, 0).astype(np.uint8)[..., None]
        Image.fromarray(np.concatenate([pixels, alpha], 2), "RGBA").convert(mode).save(folder / f"{place:02d}.{ending}")


def test_a_folder_of_pictures_becomes_a_recipe(newcomer: Newcomer) -> None:
    pictures = newcomer.home / "pictures"
    draw(pictures / "red", 20, "RGBA", "png", (220, 40, 30))
    draw(pictures / "green", 30, "RGB", "jpg", (40, 200, 60))
    draw(newcomer.home / "elsewhere/blue ones", 25, "RGB", "webp", (40, 60, 220))
    draw(pictures / "green", 2, "RGB", "gif", (40, 200, 60))
    (pictures / "blue").symlink_to("../elsewhere/blue ones")
    (pictures / "green" / "notes.txt").write_text("not a picture")
    assert "new-recipe" in newcomer.types("--help").split("What a run holds")[0]
    told = newcomer.types("new-recipe", "pictures", "--out", "mine.toml", "--small", "--size", "8")
    assert re.search(r"^images +70 to train on, 7 to test on", told, re.MULTILINE)
    assert re.search(r"^classes +3: green 29, blue 23, red 18$", told, re.MULTILINE)
    assert re.search(r"^formats +JPEG 30, WEBP 25, PNG 20, GIF 2$", told, re.MULTILINE)
    assert re.search(r"^transparent +20, to be laid over white$", told, re.MULTILINE)
    assert re.search(r"^links +1 class folder is a link, followed$", told, re.MULTILINE)
    assert "To train it: gancore train mine.toml" in told
    assert (newcomer.home / "mine.toml").read_text().startswith("# Written by `gancore new-recipe`.")


def test_the_recipe_trains_as_it_is_written_and_what_it_needs_first_is_told(newcomer: Newcomer) -> None:
    classifier = 'networks.annotator.trained_with=["run.iterations=12"]'
    told = newcomer.types("train", "mine.toml", "--iterations", "16", "--seed", "3", *SHORT, "--set", classifier)
    assert told == "The run is in runs/mine. To look at it: gancore report runs/mine\n"
    listed = newcomer.errors.split("Trained first, once:\n")[1].splitlines()
    assert re.fullmatch(r"  standard/base-annotator .*: 12 iterations, about .*", listed[0])
    assert listed[1] == "and then:"
    assert re.fullmatch(r"  mine\.toml: 16 iterations, about .*", listed[2])
    (scores,) = newcomer.scores()
    assert {"fid/fid", "classes/kl"} <= set(scores)
    assert load_file(newcomer.home / "runs/mine/weights/generator.safetensors")


def test_the_run_goes_on_for_longer(newcomer: Newcomer) -> None:
    words = ["--out", "runs/mine", "--resume", "--iterations", "24"]
    newcomer.types("train", "runs/mine/recipe.toml", *words)
    assert "going on after 16 of 24 iterations" in newcomer.errors
    assert "Trained first" not in newcomer.errors
    assert [path.name for path in sorted((newcomer.home / "runs/mine/checkpoints").iterdir())][-1] == "00000024.safetensors"
    assert len(newcomer.scores()) == 2


def test_single_images_of_a_class_come_out(newcomer: Newcomer) -> None:
    newcomer.types("sample", "runs/mine", "--n", "5", "--classes", "1", "--out", "singles")
    singles = sorted((newcomer.home / "singles").iterdir())
    assert len(singles) == 5
    for path in singles:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (8, 8))


def test_other_scores_are_made_of_the_same_run(newcomer: Newcomer) -> None:
    told = newcomer.types("evaluate", "runs/mine", "--set", "metrics.kid={use='standard/kid', network='annotator'}")
    assert re.search(r"^kid/kid +-?\d+\.\d+ +\(protocol [0-9a-f]{8}\)$", told, re.MULTILINE)
    assert "kid/kid" in newcomer.scores()[-1]


def test_the_run_has_a_page(newcomer: Newcomer) -> None:
    newcomer.types("report", "runs/mine", "--out", "page.html")
    page = (newcomer.home / "page.html").read_text()
    assert "<html" in page
    assert all(name in page for name in ("red", "green", "blue"))


def test_the_export_draws_images_where_gancore_is_not(newcomer: Newcomer) -> None:
    newcomer.types("export", "runs/mine", "--out", "generator")
    elsewhere = Environment(newcomer.home / "elsewhere-venv")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(elsewhere.python), *words]
        return subprocess.run(command, cwd=newcomer.home, env=environment, capture_output=True, text=True, check=False)

    assert "No module named 'gancore'" in python("-c", "import gancore").stderr
    done = python("generator/generate.py", "--n", "4", "--out", "four.png")
    assert done.returncode == 0, done.stderr
    with Image.open(newcomer.home / "four.png") as image:
        assert image.mode == "RGB"
        assert min(image.size) >= 16
        assert np.asarray(image).std() > 0


def test_what_another_plugin_wrote_is_not_needed_to_sample(newcomer: Newcomer) -> None:
    newcomer.environment.uninstall("gancore-plugin-report", "gancore-plugin-export")
    gone = newcomer.environment("gancore", "report", "runs/mine", cwd=newcomer.home)
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "there is no command 'report'" in gone.stderr
    newcomer.types("sample", "runs/mine", "--n", "4", "--out", "again.png")
    with Image.open(newcomer.home / "again.png") as image:
        assert image.format == "PNG"


def test_without_the_plugin_of_its_networks_a_run_says_what_to_install(newcomer: Newcomer) -> None:
    newcomer.environment.uninstall("gancore-plugin-standard")
    again = ["train", "runs/mine/recipe.toml", "--out", "runs/mine", "--resume"]
    done = newcomer.environment("gancore", *again, cwd=newcomer.home)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs the plugin 'standard', which is not installed; try `pip install gancore-plugin-standard`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
