"""Folders of runs, with their checkpoints, logs and records, of which one file is damaged."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from random import Random

from click.testing import CliRunner

from gancore.cli import main
from tests.fuzz.damage import damage_one_of
from tests.fuzz.inputs import TINY, Input, write

COMMANDS = [
    ["train", "./tiny.toml", "--out", "run", "--resume", "--device", "cpu"],
    ["sample", "run", "--n", "2", "--device", "cpu"],
    ["evaluate", "run", "--device", "cpu"],
    ["report", "run"],
    ["compare", "run"],
]
SCORED = {
    **TINY,
    "run": {**TINY["run"], "checkpoint_every": 1, "evaluate_every": 1},
    "networks": {**TINY["networks"], "classifier": {"use": "standard/small-cnn", "weights": "classifier.safetensors"}},
    "metrics": {"classes": {"use": "standard/class-histogram", "network": "classifier"}},
}


@functools.cache
def trained() -> Path:
    """Return a folder with a scored run, the weights that it reads, and its recipe, made once."""
    import torch
    from safetensors.torch import save_file

    from gancore.registry import registry

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    cls = registry().load(registry().component("network", "standard/small-cnn", "here"))
    state = cls(channels=1, image_size=8, classes=10).state_dict()
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}, folder / "c.st"
    )
    table = {**SCORED, "networks": {**SCORED["networks"]}}
    table["networks"]["classifier"] = {"use": "standard/small-cnn", "weights": str(folder / "c.st")}
    write(folder / "tiny.toml", table)
    words = ["train", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--device", "cpu"]
    done = CliRunner().invoke(main.main, words)
    assert done.exit_code == 0, done.output
    return folder


def make(rng: Random, folder: Path) -> Input:
    """Return a command on a damaged run."""
    shutil.copytree(trained(), folder, dirs_exist_ok=True)
    about = damage_one_of(rng, folder / "run")
    if rng.random() < 0.2:
        about += f", {damage_one_of(rng, folder / 'run')}"
    return Input(list(rng.choice(COMMANDS)), about)
