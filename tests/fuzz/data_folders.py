"""Folders of pictures, of which one is damaged or is no picture."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from PIL import Image

from tests.fuzz.damage import damage
from tests.fuzz.inputs import TINY, Input, write


def make(rng: Random, folder: Path) -> Input:
    """Return a training on pictures of which some are none."""
    for name in ("cats", "dogs"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(12):
            mode = rng.choice(["RGB", "RGB", "L", "RGBA", "P"])
            Image.new(mode, (rng.choice([8, 9, 30]), 8)).save(folder / "images" / name / f"{i:02d}.png")
    about = [damage(rng, rng.choice(sorted(path for path in (folder / "images").rglob("*.png") if path.is_file())))]
    if rng.random() < 0.3:
        name = rng.choice(["\x1b[2J.png", "x" * 250 + ".png", ".png", "a\nb.png", "caf\udce9.png"])
        Path(os.fsdecode(os.fsencode(folder / "images" / "cats" / name))).write_bytes(b"x")
        about.append(f"with {name!r:.40}")
    data = {"use": "standard/image-folder", "path": "images", "image_size": 8}
    write(folder / "tiny.toml", {**TINY, "data": data})
    words = ["train", "./tiny.toml", "--out", "out", "--device", "cpu", "--set", "run.iterations=1"]
    return Input(words, f"a picture is {', '.join(about)}")
