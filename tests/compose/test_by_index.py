"""Images that are read by index train the same bits: whoever reads them, however often a training is killed, in any form."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gancore_training import Progress, outer_loop, train
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.cli.main import main
from gancore.files import toml
from gancore.files.tensors import read_tensors
from gancore.parallel import distributed
from gancore.recipe import check_table
from gancore.recipe.layers import merge
from gancore.registry import registry
from tests.parallel.test_distributed import finished, start

ITERATIONS = 8

RECIPE = """
[run]
iterations = 8
batch_size = 12
latent_dim = 4
precision = "float32"
sample_every = 0
checkpoint_every = 2
keep_checkpoints = 0
[data]
use = "standard/image-folder"
path = "{folder}"
image_size = 8
flip = true
crop_padding = 1
[sources.other]
use = "standard/image-folder"
path = "{folder}"
image_size = 8
test_fraction = 0.3
[samplers.tail]
use = "standard/long-tail"
ratio = 4.0
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.05
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.05
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recipes and images: three classes of pictures of several kinds and shapes."""
    root = tmp_path_factory.mktemp("by-index")
    pixels = np.random.default_rng(0)
    for name, number in {"a": 24, "b": 20, "c": 22}.items():
        (root / "set" / name).mkdir(parents=True)
        for i in range(number):
            mode, shape = [("RGB", (11 + i % 5, 14, 3)), ("L", (16, 9 + i % 4)), ("RGBA", (12, 12, 4))][i % 3]
            picture = Image.fromarray(pixels.integers(0, 256, shape, dtype=np.uint8), mode)
            picture.save(root / "set" / name / f"{i:02}.{'jpg' if mode == 'L' else 'png'}")
    (root / "recipe.toml").write_text(RECIPE.format(folder=root / "set"))
    return root


def settled(keep: str, **run: Any) -> dict[str, Any]:
    return {"data": {"keep": keep}, "sources": {"other": {"keep": keep}}, "run": run}


def train_here(folder: Path, name: str, settings: dict[str, Any], progress: Progress | None = None) -> None:
    """Train in this process."""
    recipe = check_table(merge(toml.read(folder / "recipe.toml"), settings), registry(), name=name)
    train(recipe, registry(), out=folder / name, device=torch.device("cpu"), progress=progress)


def outcome(folder: Path, name: str) -> tuple[dict[str, Tensor], Any]:
    """Return what the last checkpoint of a training holds, and what it says of the data."""
    tensors, header = read_tensors(folder / name / "checkpoints" / f"{ITERATIONS:08d}.safetensors")
    return tensors, header["data"]


def assert_same(one: tuple[dict[str, Tensor], Any], other: tuple[dict[str, Tensor], Any]) -> None:
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    assert [name for name, value in one[0].items() if not torch.equal(value, other[0][name])] == []


@pytest.fixture(scope="module")
def from_array(folder: Path) -> tuple[dict[str, Tensor], Any]:
    """The training from arrays in memory."""
    train_here(folder, "array", settled("pixels"))
    return outcome(folder, "array")


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_any_number_of_workers_trains_what_an_array_does(folder: Path, from_array: Any, workers: int) -> None:
    train_here(folder, f"workers-{workers}", settled("nothing", workers=workers))
    assert_same(outcome(folder, f"workers-{workers}"), from_array)


@pytest.mark.parametrize("workers", [0, 2])
def test_replayed_iterations_read_what_others_do(folder: Path, from_array: Any, workers: int) -> None:
    name = f"replayed-{workers}"
    train_here(folder, name, settled("nothing", workers=workers, accelerate=["profile/cpu-graphs"]))
    assert_same(outcome(folder, name), from_array)
    assert json.loads((folder / name / "environment.json").read_text())["accelerators"] == {"profile/cpu-graphs": "on"}


@pytest.mark.parametrize(("worth", "lines"), [(0.0, 1), (1.0, 0)])
def test_the_log_says_how_long_a_training_waits_for_images(
    folder: Path, from_array: Any, monkeypatch: pytest.MonkeyPatch, worth: float, lines: int
) -> None:
    told = []

    class Told(Progress):
        def announce(self, text: str) -> None:
            told.append(text)

    # Without a worker it waits in every iteration, and never for longer than the iteration takes.
    monkeypatch.setattr(outer_loop, "WORTH_TELLING", worth)
    shutil.rmtree(folder / "waiting", ignore_errors=True)
    train_here(folder, "waiting", settled("nothing", workers=0, log_every=1), Told())
    log = [json.loads(line) for line in (folder / "waiting" / "log.jsonl").read_text().splitlines()]
    waited = [line["data_seconds"] for line in log]
    assert len(waited) == ITERATIONS
    assert 0 < waited[0] <= waited[-1] <= log[-1]["seconds"]
    assert "data_seconds" not in (folder / "array" / "log.jsonl").read_text()
    limit = r"the images arrive at \d+/s, the step could use (\d+/s|more): raise run\.workers, or prepare them .*"
    assert sum(bool(re.fullmatch(limit, line)) for line in told) == lines


@pytest.mark.parametrize("encoding", ["pixels", "files", "webp"])
def test_every_exact_store_trains_what_an_array_does(folder: Path, from_array: Any, encoding: str) -> None:
    store = folder / f"store-{encoding}"
    words = ["prepare", str(folder / "set"), "--out", str(store), "--size", "8", "--encoding", encoding, "--workers", "1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    table = merge(toml.read(folder / "recipe.toml"), settled("nothing", workers=1))
    data = {"use": "store/prepared", "path": str(store), "keep": "nothing", "flip": True, "crop_padding": 1}
    recipe = check_table({**table, "data": data}, registry(), name=encoding)
    train(recipe, registry(), out=folder / encoding, device=torch.device("cpu"))
    assert_same(outcome(folder, encoding), from_array)


def test_two_processes_train_what_they_do_from_an_array(folder: Path) -> None:
    for status, _, errors in finished(start(["tests.compose.test_by_index", str(folder)], 2, folder)):
        assert status == 0, errors
    assert_same(outcome(folder, "two-by-index"), outcome(folder, "two-arrays"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_a_killed_training_goes_on_to_the_same_bits(folder: Path, from_array: Any) -> None:
    more = [word for key in ("data", "sources.other") for word in ("--set", f"{key}.keep=nothing")]
    command = ["gancore", "train", str(folder / "recipe.toml"), "--out", str(folder / "killed"), *more]
    (training,) = start([*command, "--set", "run.workers=2"], 1, folder)
    while training.poll() is None and not (folder / "killed" / "checkpoints" / "00000002.safetensors").exists():
        time.sleep(0.01)
    training.kill()
    training.communicate()
    for late in range(6, ITERATIONS + 1, 2):  # It may have been faster than the signal.
        (folder / "killed" / "checkpoints" / f"{late:08d}.safetensors").unlink(missing_ok=True)
    result = CliRunner().invoke(main, [*command[1:], "--set", "run.workers=1", "--resume"])
    assert result.exit_code == 0, result.output
    assert_same(outcome(folder, "killed"), from_array)


def test_a_class_that_is_gone_is_told_and_can_be_brought_back(folder: Path, from_array: Any) -> None:
    shutil.copytree(folder / "set", folder / "moving")
    path = {"path": str(folder / "moving")}
    settings = merge(settled("nothing", workers=0), {"data": path, "sources": {"other": path}})
    train_here(folder, "gone", merge(settings, {"run": {"iterations": 2}}))
    (folder / "moving" / "c").rename(folder / "c")
    recipe = check_table(merge(toml.read(folder / "recipe.toml"), settings), registry(), name="gone")
    with pytest.raises(GancoreError, match=r"the data have 2 classes, and not the 3 that .*; bring those back, or choose"):
        train(recipe, registry(), out=folder / "gone", device=torch.device("cpu"), resume=True)
    (folder / "c").rename(folder / "moving" / "c")
    train(recipe, registry(), out=folder / "gone", device=torch.device("cpu"), resume=True)
    assert_same(outcome(folder, "gone"), from_array)


if __name__ == "__main__":
    distributed.start(torch.device("cpu"))
    train_here(Path(sys.argv[1]), "two-arrays", settled("pixels"))
    train_here(Path(sys.argv[1]), "two-by-index", settled("nothing", workers=2))
    distributed.stop()
