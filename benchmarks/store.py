"""What image sets larger than memory cost: listing, opening, reading, preparing, and going on after a kill.

    python -m benchmarks.store --folder runs/store                    # 30,000 JPEGs of 128 px, and 1.28 million links to them
    python -m benchmarks.store --folder runs/store --links 0          # without the links

Everything is made in the folder: some 4 GB, and 1.28 million names with the links. Times are of this process's CPU where they
say so, which other work on the machine changes little; walls are as they were.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gancore_standard.datasets import ImageFolder
from gancore_standard.datasets.ahead import Ahead
from gancore_store.prepared import Prepared
from PIL import Image

from gancore import Images

CLASSES, LINKED_CLASSES = 100, 1000
READ = 4000
"""Images by which a rate is measured."""

RECIPE = """
[run]
iterations = 1
batch_size = 64
sample_every = 0
[data]
use = "standard/image-folder"
path = "{path}"
image_size = 32
test_fraction = 0
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.1
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.1
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
"""


def make_images(folder: Path, number: int) -> None:
    """Write JPEGs of 128 px, smooth noise under fine noise so that they take about as many bytes as photographs do."""
    pixels = np.random.default_rng(0)
    for name in range(CLASSES):
        (folder / f"{name:03d}").mkdir(parents=True, exist_ok=True)
    for at in range(number):
        path = folder / f"{at % CLASSES:03d}" / f"{at:06d}.jpg"
        if not path.exists():
            smooth = Image.fromarray(pixels.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((128, 128), 3)
            fine = pixels.normal(0, 9, (128, 128, 1))
            Image.fromarray((np.asarray(smooth) + fine).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def make_links(folder: Path, images: Path, number: int) -> None:
    """Link files of a folder under other names."""
    if folder.exists():
        return
    files = sorted(images.glob("*/*.jpg"))
    for name in range(LINKED_CLASSES):
        (folder / f"n{name:08d}").mkdir(parents=True)
    for at in range(number):
        os.link(files[at % len(files)], folder / f"n{at % LINKED_CLASSES:08d}" / f"n{at % LINKED_CLASSES:08d}_{at}.JPEG")


def resident() -> int:
    """Return the bytes of anonymous memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a call gives, and its wall time, CPU time and growth of memory."""
    memory, cpu, wall = resident(), time.process_time(), time.perf_counter()
    result = call()
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "memory_mb": (resident() - memory) / 1e6}
    return result, {name: round(value, 4) for name, value in spent.items()}


def read_cost(images: Images) -> dict[str, float]:
    """Return what it costs to read images in random order on one core, and through two workers."""
    places = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:READ].tolist()
    cpu = time.process_time()
    for place in places:
        images.picture(place)  # type: ignore[attr-defined]
    cpu = time.process_time() - cpu
    batches = torch.tensor(places).split(64)
    ahead = Ahead(images, lambda draw: batches[draw % len(batches)], torch.device("cpu"), 2)
    ahead(0)
    wall = time.perf_counter()
    for draw in range(1, len(batches)):
        ahead(draw)
    wall = time.perf_counter() - wall
    ahead.close()
    return {"cpu_ms": round(1000 * cpu / READ, 4), "per_cpu_second": round(READ / cpu), "two_workers": round(READ / wall)}


def digests(store: Path) -> str:
    """Return a digest of all shards of a store, and of what it says of itself."""
    state = hashlib.sha256()
    for path in sorted(store.glob("*s*")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


def prepare(source: Path, out: Path, encoding: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a process that prepares a store."""
    words = ["-m", "gancore", "prepare", str(source), "--out", str(out), "--encoding", encoding, "--size", "128"]
    command = [sys.executable, *words, "--set", "test_fraction=0", *more]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def killed(source: Path, folder: Path) -> dict[str, Any]:
    """Kill two processes at a store, go on with one, and compare with a store that nobody has disturbed."""
    out = folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    two = [prepare(source, out, "pixels", "--workers", "1") for _ in range(2)]
    while len(list(out.glob("train-*.safetensors"))) < 2 and any(one.poll() is None for one in two):
        time.sleep(0.05)
    for one in two:
        one.kill()
        one.wait()
    left = len(list(out.glob("train-*.safetensors")))
    status = prepare(source, out, "pixels", "--workers", "1").wait()
    return {"shards_when_killed": left, "status": status, "same_bytes": digests(out) == digests(folder / "pixels")}


def main() -> None:
    """Measure, and print a line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/store"))
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--links", type=int, default=1_281_167)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    images = folder / "images"

    def tell(what: str, values: Any) -> None:
        print(json.dumps({what: values}), flush=True)

    make_images(images, arguments.images)
    on_the_fly, spent = timed(
        lambda: ImageFolder(path=str(images), image_size=128, test_fraction=0, keep="nothing").load("train")
    )
    tell(f"list {len(on_the_fly[1])} files", spent)
    tell("read from the folder, 128 px", read_cost(on_the_fly[0]))
    for encoding in ("pixels", "files"):
        if not (folder / encoding / "store.json").exists():
            wall = time.perf_counter()
            prepare(images, folder / encoding, encoding, "--workers", "2").wait()
            tell(f"prepare {encoding} by 2 processes, wall seconds", round(time.perf_counter() - wall, 1))
        loaded, spent = timed(partial(Prepared(path=str(folder / encoding), keep="nothing").load, "train"))
        tell(f"open {encoding}", spent)
        tell(f"read {encoding}, 128 px", read_cost(loaded[0]))
        places = torch.randperm(len(loaded[1]))[:256]
        tell(f"{encoding} as from the folder", bool(torch.equal(loaded[0][places], on_the_fly[0][places])))
    half = torch.arange(0, len(on_the_fly[1]), 2)
    some, spent = timed(lambda: on_the_fly[0].chosen(half))
    tell("choose half of the images", {"bytes_an_image": some.places.nbytes / len(some), **spent})
    tell("two processes killed, then one", killed(images, folder))
    if arguments.links:
        make_links(folder / "links", images, arguments.links)
        linked = ImageFolder(path=str(folder / "links"), image_size=32, test_fraction=0)
        tell(f"list {arguments.links} links", timed(lambda: linked.load("train"))[1])
        (folder / "recipe.toml").write_text(RECIPE.format(path=folder / "links"))
        shutil.rmtree(folder / "run", ignore_errors=True)
        command = [sys.executable, "-m", "gancore", "train", str(folder / "recipe.toml"), "--out", str(folder / "run")]
        tell(
            "train one iteration on them, wall",
            timed(lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))[1],
        )


if __name__ == "__main__":
    main()
