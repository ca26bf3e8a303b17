"""Files of weights that a recipe starts from, damaged or others'."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.fuzz.damage import damage
from tests.fuzz.inputs import TEXTS, Input
from tests.fuzz.run_folders import trained


def make(rng: Random, folder: Path) -> Input:
    """Return a training that starts from damaged weights."""
    shutil.copytree(trained(), folder, dirs_exist_ok=True)
    words = ["train", "./tiny.toml", "--out", "out", "--device", "cpu", "--set", "run.iterations=1", "--set"]
    place = rng.choice(["networks.classifier", "networks.generator", "heads.adversarial"])
    if rng.random() < 0.3:
        text = rng.choice(TEXTS).replace("\0", "")
        return Input([*words, f"{place}.weights={text}"], f"the weights of {place} are {text!r:.60}")
    about = damage(rng, folder / "c.st")
    return Input([*words, f"{place}.weights=c.st"], f"the weights of {place} are {about}")
