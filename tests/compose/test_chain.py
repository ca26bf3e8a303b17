"""The life of a run from one end to the other: stopped short, moved, trained longer, scored anew, and sampled without its data.

Each step is a command of its own process, so that nothing but what lies on the disk goes from one to the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.networks.small_cnn import SmallCNN
from PIL import Image
from safetensors.torch import load_file, save_file

RECIPE = """
[run]
iterations = 8
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 1
checkpoint_every = 4
[data]
use = "standard/image-folder"
path = "pictures"
image_size = 8
flip = true
[samplers.tail]
use = "standard/long-tail"
ratio = 2
[networks.generator]
use = "standard/mlp-generator"
hidden = 8
[networks.discriminator]
use = "standard/mlp-discriminator"
hidden = 8
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
[optimizers.generator]
use = "adam"
lr = 1e-2
[optimizers.discriminator]
use = "adam"
lr = 1e-2
"""

SCORED = {
    "networks.annotator.use": "standard/small-cnn",
    "networks.annotator.weights": "annotator.safetensors",
    "metrics.fid.use": "standard/fid",
    "metrics.classes.use": "standard/class-histogram",
    "metrics.cas.use": "standard/cas",
    "metrics.cas.labels": "generator",
    "metrics.cas.architecture": "small-cnn",
    "metrics.cas.classifier_iterations": "2",
    "evaluation.samples": "40",
}
"""Metrics that the run did not have, and the network whose features they read."""


def draw(folder: Path) -> None:
    """Write twenty pictures of noise of each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


class Disk:
    """A folder in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: object, sets: dict[str, str] | None = None) -> str:
        """Run a command that has to end well; return what it printed."""
        assigned = [word for key, value in (sets or {}).items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "gancore", *map(str, words), *assigned]
        environment = {**os.environ, "GANCORE_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def sampled(self, run: str, *words: object) -> dict[str, Any]:
        """Return the images, and what lies beside them, that `gancore sample` writes of a run."""
        self.run("sample", run, "--n", 6, "--out", "samples.npz", *words)
        with np.load(self.folder / "samples.npz", allow_pickle=False) as arrays:
            content = dict(arrays)
        (self.folder / "samples.npz").unlink()
        return content

    def scores(self, run: str) -> list[dict[str, Any]]:
        """Return what each evaluation of a run gave, its time left out."""
        lines = (self.folder / run / "scores.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    def losses(self, run: str) -> list[Any]:
        """Return the losses of each iteration of a run."""
        lines = (self.folder / run / "log.jsonl").read_text().splitlines()
        return [(entry["iteration"], entry["losses"]) for entry in map(json.loads, lines)]

    def tensors(self, run: str, where: str) -> dict[str, torch.Tensor]:
        """Return all tensors of a file of a run, or of all files of a folder of it."""
        path = self.folder / run / where
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        return {f"{file.name}/{name}": value for file in files for name, value in load_file(file).items()}


def assert_alike(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], name)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    draw(tmp_path / "pictures")
    torch.manual_seed(0)
    annotator = SmallCNN(channels=3, image_size=8, classes=2)
    save_file(annotator.state_dict(), tmp_path / "annotator.safetensors")
    return Disk(tmp_path)


def test_a_run_lives_on_longer_elsewhere_scored_otherwise_and_without_its_data(disk: Disk) -> None:
    # One run of 16 iterations, and one that is finished at 8.
    disk.run("train", "tiny.toml", "--out", "whole", sets={"run.iterations": "16"})
    disk.run("train", "tiny.toml", "--out", "run")
    assert (disk.folder / "run" / "checkpoints" / "00000008.safetensors").exists()
    short = disk.sampled("run")

    # The finished run and its pictures move; it shows the same there, and goes on to 16.
    away = "elsewhere, größer/run"
    (disk.folder / away).parent.mkdir()
    (disk.folder / "run").rename(disk.folder / away)
    (disk.folder / "pictures").rename(disk.folder / "moved pictures")
    here = {"data.path": "moved pictures"}
    assert_alike(short, disk.sampled(away))
    told = disk.run("train", "tiny.toml", "--out", away, "--resume", sets={"run.iterations": "16", **here})
    assert "run.iterations was 8 and is 16" in told
    assert "data.path was" in told

    # It is the run of 16 iterations: all of its state, its exported weights, its log, its samples.
    for where in ("checkpoints/00000016.safetensors", "weights"):
        assert_alike(disk.tensors("whole", where), disk.tensors(away, where))
    assert disk.losses(away) == disk.losses("whole")
    assert [iteration for iteration, _ in disk.losses(away)] == list(range(1, 17))
    images = disk.sampled(away)
    assert_alike(images, disk.sampled("whole"))
    assert not np.array_equal(images["arr_0"], short["arr_0"])

    # It is scored by metrics that it did not have, alike before and after it moves once more, and as the other is.
    disk.run("evaluate", away, sets=SCORED)
    disk.run("evaluate", "whole", sets={**SCORED, **here})
    (disk.folder / away).rename(disk.folder / "home")
    disk.run("evaluate", "home", sets=SCORED)
    first, again = disk.scores("home")
    assert {"fid/fid", "classes/kl", "cas/cas"} <= first["scores"].keys()
    assert first == again == disk.scores("whole")[0]

    # Without pictures, and without what was kept of them, it is sampled as before; scoring it changed no weight.
    shutil.rmtree(disk.folder / "moved pictures")
    shutil.rmtree(disk.folder / "cache")
    for run in ("home", "whole"):
        assert_alike(images, disk.sampled(run))
        assert_alike(disk.tensors("whole", "weights"), disk.tensors(run, "weights"))
