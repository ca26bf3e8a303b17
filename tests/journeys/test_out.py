"""Out of gancore: a run's generator where gancore can't be imported, its images scored again, and a run without a plugin."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_training import open_run, sample

from gancore.cli import main
from gancore.registry import Registry
from gancore.tools import load_split, read_tensors, registry, to_uint8, to_unit, write_tensors
from tests.hosts import CONDITIONAL, CPU, installed

RECIPE = f"""
[run]
iterations = 4
batch_size = 16
latent_dim = 6
precision = "float32"
evaluate_every = 2
keep_best = "shift/distance"
{CONDITIONAL}
[losses.entropy]
use = "bre/entropy"
[ema]
decay = 0.9
[metrics.shift]
use = "journey/shift"
[metrics.whole]
use = "journey/whole"
[evaluation]
samples = 40
batch_size = 25
"""

PLUGIN = """
import gancore, torch
class Shift(gancore.Metric):
    better = {"distance": "lower"}
    def __init__(self):
        self.real, self.shares = [], []
        self.reset()
    def reset(self):
        self.fake, self.labels = [], []
    def update_real(self, *, images):
        self.real.append(images)
    def update(self, *, images, labels=None):
        self.fake.append(images)
        self.labels += [] if labels is None else labels.tolist()
    def compute(self):
        means = [torch.cat(images).mean(0) for images in (self.real, self.fake)]
        return {"distance": float((means[0] - means[1]).square().sum()), "labels": float(sum(self.labels))}
class Whole(gancore.Metric):
    def score_run(self, run):
        return {"iteration": run.iteration}
@gancore.hookimpl
def gancore_metrics():
    yield gancore.Component("shift", f"{__name__}:Shift", "Distance of mean images")
    yield gancore.Component("whole", f"{__name__}:Whole", "The iteration")
"""

ALONE = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.startswith("gancore") else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
try:
    import gancore
    sys.exit("gancore can be imported")
except ModuleNotFoundError:
    pass
sys.path.insert(0, sys.argv[1])
import generate, json, torch
about = json.loads((generate.HERE / "generator.json").read_text())
given = generate.tensors(generate.Path(sys.argv[2]))
images = generate.images(about, given["z"], given["label"])
torch.save(images, sys.argv[3])
assert not [name for name in sys.modules if name.startswith("gancore")]
"""


def plugins_of(*names: str) -> Registry:
    """Return some of the installed plugins, as if the others had been uninstalled, and that of this journey."""
    return Registry.of(
        {name: importlib.import_module(f"gancore_{name}") for name in names} | {"journey": sys.modules["journey_plugin"]}
    )


EVERY = ("bre", "export", "standard", "training")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a trained run in ``run``, to work in."""
    folder = tmp_path_factory.mktemp("journey")
    (folder / "journey_plugin.py").write_text(PLUGIN)
    (folder / "tiny.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        importlib.import_module("journey_plugin")
        done = gancore("train", "tiny.toml", "--out", "run")
        assert done.exit_code == 0, done.output
        yield folder
    del sys.modules["journey_plugin"]


def gancore(*words: object, plugins: tuple[str, ...] = EVERY) -> Result:
    with installed(plugins_of(*plugins)):
        return CliRunner().invoke(main.main, [str(word) for word in words], catch_exceptions=False)


def test_an_export_generates_the_same_images_where_gancore_cannot_be_imported(folder: Path) -> None:
    done = gancore("export", "run", "--out", "generator")
    assert done.exit_code == 0, done.output
    assert "torch.export: images differ from gancore's by at most " in done.output
    with installed(plugins_of(*EVERY)):
        run = open_run(Path("run"), registry(), CPU)
        drawn = run.latent(9, "journey")
        own = run.generate(drawn)
    write_tensors(folder / "given.safetensors", {"z": drawn.z, "label": drawn.label}, {})
    command = [sys.executable, "-W", "ignore", "-c", ALONE, "generator", "given.safetensors", "images.pt"]
    alone = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    images = torch.load(folder / "images.pt", weights_only=True)
    torch.testing.assert_close(images, own, atol=1e-4, rtol=0)
    assert float(own.std()) > 0.1  # of images, and not of one gray
    assert read_tensors(folder / "generator" / "check.safetensors")[0]["images"].shape[1:] == (1, 8, 8)


def test_images_that_left_are_scored_as_they_were_in_the_run(folder: Path) -> None:
    """Written as an npz and one a file, and scored by the run's protocol, its images have the run's score."""
    with installed(plugins_of(*EVERY)):
        run = open_run(Path("run"), registry(), CPU)
        images, labels = sample(run, 40, seed=3)
        means = [to_unit(pixels).mean(0) for pixels in (to_uint8(images), load_split(run.plan.dataset, "test")[0])]
    distance = float((means[0] - means[1]).square().sum())
    for out in ("given.npz", "single", "classes"):
        words = ["--by-class"] if out == "classes" else []
        assert gancore("sample", "run", "--n", 40, "--seed", 3, "--out", out, *words).exit_code == 0
        done = gancore("evaluate", out, "--recipe", "run")
        assert done.exit_code == 0, done.output
        assert f"shift/distance                   {distance:.4f}    (protocol " in done.output
        told = float(sum(labels.tolist())) if out != "single" else 0.0
        assert f"shift/labels                     {told:.4f}" in done.output
        assert f"40 images of {out}, {'without' if out == 'single' else 'with'} labels, by the recipe run\n" in done.output
        assert "left out: whole, which needs a run\n" in done.output
    assert (folder / "classes" / "0" / "000000.png").exists()
    with np.load(folder / "given.npz") as arrays:
        assert (arrays["arr_0"].shape, arrays["arr_1"].dtype) == ((40, 8, 8, 1), np.int64)
    # By the recipe alone, of which nothing was trained, the same.
    done = gancore("evaluate", "given.npz", "--recipe", "tiny.toml", "--metric", "shift")
    assert f"{distance:.4f}" in done.output
    lines = (folder / "run" / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [2, 4]


def test_images_that_do_not_fit_are_refused(folder: Path) -> None:
    assert gancore("sample", "run", "--n", 12, "--out", "few.npz").exit_code == 0
    fewer = ["few.npz", "--set", "evaluation.samples=12"]
    for words, sentence in (
        (
            ["few.npz", "--recipe", "run"],
            "few.npz holds 12 images, and run/recipe.toml scores 40; give as many, or score fewer: ",
        ),
        (["few.npz"], "few.npz holds no run (there is no recipe.toml in it); to score images, name a recipe by --recipe."),
        (["run", "--resize"], "--resize is for images that others made; name the recipe to score them by with --recipe."),
        (["few.npz", "--recipe", "tiny.toml", "--at", "2"], "--at is for a checkpoint, and --recipe 'tiny.toml' is no run"),
        ([*fewer, "--recipe", "run", "--metric", "whole"], "the metric whole of run/recipe.toml needs a run, which files"),
        (["few.npz", "--recipe", "run", "--set", "data.image_size=16"], "was trained by another recipe"),
        ([*fewer, "--recipe", "tiny.toml", "--set", "data.image_size=16"], "8 x 8 pixels, not 16 x 16; resize it"),
    ):
        done = gancore("evaluate", *words)
        assert done.exit_code == 2, done.output
        assert sentence in done.output
    words = ("--set", "data.image_size=16", "--set", "evaluation.samples=12", "--resize")
    done = gancore("evaluate", "few.npz", "--recipe", "tiny.toml", *words)
    assert done.exit_code == 0, done.output


def test_a_run_whose_loss_was_uninstalled_still_draws_its_images(folder: Path) -> None:
    few = ("export", "standard", "training")
    assert gancore("sample", "run", "--n", 5, "--out", "before.npz").exit_code == 0
    done = gancore("sample", "run", "--n", 5, "--out", "after.npz", plugins=few)
    assert done.exit_code == 0, done.output
    assert "without losses.entropy, whose code is not there, and which no image needs" in done.output
    with np.load("before.npz") as before, np.load("after.npz") as after:
        assert all(np.array_equal(before[name], after[name]) for name in ("arr_0", "arr_1"))
    assert gancore("export", "run", "--out", "exported", plugins=few).exit_code == 0
    done = gancore("sample", "run", "--at", "3", plugins=few)
    assert "stores no checkpoint of iteration 3, only of " in done.output
    # What scores and trains on needs it.
    for words in (("evaluate", "run"), ("train", "run/recipe.toml", "--out", "run", "--resume")):
        done = gancore(*words, plugins=few)
        assert done.exit_code == 2
        assert "losses.entropy uses the loss 'bre/entropy', which needs the plugin 'bre'" in done.output


def test_a_run_whose_network_was_uninstalled_gets_a_sentence(folder: Path) -> None:
    text = (folder / "run" / "recipe.toml").read_text()
    (folder / "run" / "recipe.toml").write_text(text.replace("standard/sndcgan-generator", "gone/generator"))
    try:
        done = gancore("sample", "run")
    finally:
        (folder / "run" / "recipe.toml").write_text(text)
    assert done.exit_code == 2
    assert "networks.generator uses the network 'gone/generator', which needs the plugin 'gone'" in " ".join(
        done.output.split()
    )
