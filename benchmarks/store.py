"""What image sets larger than memory cost: listing, opening, reading, preparing, and going on after a kill.

    python -m benchmarks.store --folder runs/store                    # 30,000 JPEGs of 128 px, and 1.28 million links to them
    python -m benchmarks.store --folder runs/store --links 0          # without the links
    python -m benchmarks.store --folder runs/store --only-waits       # how long a training waits for images, in 2 minutes

Everything is made in the folder: some 5 GB, and 1.28 million names with the links. Times are of this process's CPU where they
say so, which other work on the machine changes little; walls are as they were, and the load of the machine is told with them.
Rates are of one process that reads batches as a worker does; with simplejpeg, where it is installed, and with Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from gancore_standard.datasets import ImageFolder, jpeg, listings, pictures
from gancore_standard.datasets.ahead import Ahead
from gancore_standard.datasets.folder_images import FolderImages
from gancore_standard.datasets.reading_processes import ASKED
from gancore_standard.datasets.shared_slots import MOST_BATCHES
from gancore_store.prepared import Prepared
from gancore_store.shards import open_shard, shard_path, write_shard
from PIL import Image

from gancore import Images

CLASSES, LINKED_CLASSES = 100, 1000
READ, REPEATS = 2048, 5
"""Images by which a rate is measured, and how often; the median counts."""

BATCH = 64

RECIPE = """
[run]
iterations = 1
batch_size = 64
sample_every = 0
[data]
use = "standard/image-folder"
path = "{path}"
image_size = 64
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


def make_images(folder: Path, number: int, width: int = 128, height: int = 128) -> Path:
    """Write JPEGs, smooth noise under fine noise so that they take about as many bytes as photographs do."""
    pixels = np.random.default_rng(0)
    for name in range(CLASSES):
        (folder / f"{name:03d}").mkdir(parents=True, exist_ok=True)
    for at in range(number):
        path = folder / f"{at % CLASSES:03d}" / f"{at:06d}.jpg"
        if not path.exists():
            smooth = Image.fromarray(pixels.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height), 3)
            fine = pixels.normal(0, 9, (height, width, 1))
            Image.fromarray((np.asarray(smooth) + fine).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def make_links(folder: Path, images: Path, number: int) -> None:
    """Link files of a folder under other names."""
    if folder.exists():
        return
    files = sorted(images.glob("*/*.jpg"))
    for name in range(LINKED_CLASSES):
        (folder / f"n{name:08d}").mkdir(parents=True)
    for at in range(number):
        os.link(files[at % len(files)], folder / f"n{at % LINKED_CLASSES:08d}" / f"n{at % LINKED_CLASSES:08d}_{at}.JPEG")
    time.sleep(listings.RECENT / 1e9 + 1)  # Folders that are new are listed again.


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


def folder_of(path: Path, image_size: int) -> FolderImages:
    """Return the pictures of a folder, decoded when they are wanted."""
    images, _ = ImageFolder(path=str(path), image_size=image_size, test_fraction=0, keep="nothing").load("train")
    assert isinstance(images, FolderImages)
    return images


@contextmanager
def alone(*, simplejpeg: bool) -> Iterator[None]:
    """Read as a worker does, by one thread; and decode by Pillow unless the other is asked for."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(pictures, "get_worker_info", return_value=True))
        if not simplejpeg:
            stack.enter_context(mock.patch.object(jpeg, "_decoder", return_value=None))
        yield


def read_cost(images: Images, *, simplejpeg: bool = False) -> dict[str, float]:
    """Return what it costs one core to read batches of images in random order."""
    places = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:READ]
    spent = []
    with alone(simplejpeg=simplejpeg):
        for _ in range(REPEATS):
            cpu = time.process_time()
            for batch in places.split(BATCH):
                images.read(batch)
            spent.append((time.process_time() - cpu) / len(places))
    cpu = statistics.median(spent)
    return {"cpu_ms": round(1000 * cpu, 4), "per_core_second": round(1 / cpu)}


class Weighed(pictures.Pictures):
    """Images in whose place comes the memory of the process that has read them: bytes, as eight pixels."""

    def __init__(self, images: pictures.Pictures) -> None:
        self.images, self.shape = images, torch.Size((len(images), 1, 1, 8))

    def picture(self, place: int) -> Any:
        """Read an image, and return the memory."""
        self.images.picture(place)
        return np.array([resident()]).view(np.uint8).reshape(1, 1, 8)


def worker_memory(images: pictures.Pictures) -> dict[str, float]:
    """Return the anonymous memory of a worker after a tenth of an epoch, and at its end, in MB."""
    batches = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(BATCH)
    ahead = Ahead(Weighed(images), lambda draw: batches[draw % len(batches)], torch.device("cpu"), 1)
    most = [int(ahead(draw).numpy().view(np.int64).max()) for draw in range(len(batches))]
    ahead.close()
    return {"after_a_tenth": most[len(most) // 10] / 1e6, "at_the_end": most[-1] / 1e6, "most": max(most) / 1e6}


class Slow(pictures.Pictures):
    """Images each of which takes a worker 2 ms, whatever else the machine does."""

    def __init__(self, size: int) -> None:
        self.shape = torch.Size((10_000, 3, size, size))

    def picture(self, place: int) -> Any:
        """Wait, and return nothing but black."""
        time.sleep(0.002)
        return np.zeros(self.shape[1:], np.uint8)


def waiting(images: Images, workers: int, steps: int = 200) -> dict[str, float]:
    """Return how long a training waits that wants 1 / 1.25 of the images a second that its workers read.

    It sleeps for the rest of its step. Counted are steps after the workers have come as far ahead as they can; the seconds
    until the first batch, in which they begin, are told apart.
    """
    places = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: len(images) // BATCH * BATCH]
    batches = places.split(BATCH)
    ahead = Ahead(images, lambda draw: batches[draw % len(batches)], torch.device("cpu"), workers)
    draws = count()
    ahead(next(draws))
    start = ahead.waited
    rate = read_rate(ahead, draws)
    step = 1.25 * BATCH / rate
    for _ in range(2 * MOST_BATCHES * ASKED * workers):
        train_on(ahead, next(draws), step)
    waits, costs, before, began = [], [], ahead.waited, time.perf_counter()
    for _ in range(steps):
        waited = ahead.waited
        costs.append(train_on(ahead, next(draws), step))
        waits.append(ahead.waited - waited)
    wall, waited = time.perf_counter() - began, ahead.waited - before
    ahead.close()
    return {
        "images_a_second": round(rate),
        "wanted": round(rate / 1.25),
        "step_ms": round(1000 * step, 1),
        "share_waited": round(waited / wall, 4),
        "share_of_own_cpu": round(sum(costs) / wall, 4),
        "own_cpu_ms_a_batch": round(1000 * sum(costs) / steps, 3),
        "longest_wait_ms": round(1000 * max(waits), 1),
        "first_batch_s": round(start, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def read_rate(ahead: Ahead, draws: Iterator[int], batches: int = 128) -> float:
    """Return the images a second that workers read for whoever takes them at once."""
    for _ in range(2 * MOST_BATCHES * ASKED * ahead.workers):
        ahead(next(draws))
    began = time.perf_counter()
    for _ in range(batches):
        ahead(next(draws))
    return batches * BATCH / (time.perf_counter() - began)


def train_on(ahead: Ahead, draw: int, step: float) -> float:
    """Take the images of a draw, sleep for a step, and return the seconds of this thread's CPU that taking them cost."""
    before = time.thread_time()
    ahead(draw)
    cost = time.thread_time() - before
    time.sleep(step)
    return cost


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


def make_wide_store(store: Path, number: int, shards: int = 246) -> Path:
    """Write a store of as many images as ImageNet has, of a byte each: what opening it costs does not depend on them."""
    each = -(-number // shards)
    digests = []
    for shard in range(shards):
        labels = torch.arange(shard * each, min((shard + 1) * each, number)) % LINKED_CLASSES
        path = shard_path(store, "train", shard, shards)
        write_shard(path, [b"x"] * len(labels), labels)
        digests.append(open_shard(path).sha256)
    about = {"format": 1, "source": "none", "encoding": "files", "decoding": 0, "background": "white", "channels": 3}
    about |= {"image_size": 128, "classes": LINKED_CLASSES, "attributes": 0, "class_names": []}
    about["splits"] = {"train": {"images": number, "each": each, "shards": digests}}
    (store / "store.json").write_text(json.dumps(about))
    return store


def rates(folder: Path, tell: Callable[[str, Any], None]) -> None:
    """Measure what it costs to read images, of several sizes and forms."""
    sets = {
        "128 px": folder_of(folder / "images", 128),
        "256 px": folder_of(make_images(folder / "images-256", 12_000, 256, 256), 256),
        "500 x 375 to 128 px": folder_of(make_images(folder / "originals", 3_000, 500, 375), 128),
    }
    for name, images in sets.items():
        tell(f"read from the folder, {name}", read_cost(images))
        if jpeg._decoder() is not None:
            tell(f"the same with simplejpeg, {name}", read_cost(images, simplejpeg=True))
    on_the_fly = sets["128 px"]
    for encoding in ("pixels", "files"):
        if not (folder / encoding / "store.json").exists():
            wall = time.perf_counter()
            prepare(folder / "images", folder / encoding, encoding, "--workers", "2").wait()
            tell(f"prepare {encoding} by 2 processes, wall seconds", round(time.perf_counter() - wall, 1))
        (stored, _), spent = timed(partial(Prepared(path=str(folder / encoding), keep="nothing").load, "train"))
        tell(f"open {encoding}", spent)
        tell(f"read {encoding}, 128 px", read_cost(stored))
        places = torch.randperm(len(stored))[:256]
        tell(f"{encoding} as from the folder", bool(torch.equal(stored[places], on_the_fly[places])))
        tell(f"memory of a worker over an epoch, {encoding}, MB", worker_memory(stored))
    tell("memory of a worker over an epoch, folder, MB", worker_memory(on_the_fly))


def waits(images: Images, tell: Callable[[str, Any], None]) -> None:
    """Measure how long a training waits for workers that sleep, and for one that decodes."""
    for size in (32, 128):
        tell(f"wait for 4 workers of 500 images a second, {size} px", waiting(Slow(size), 4))
    tell("wait for 1 worker on the folder, 128 px", waiting(images, 1))


def starts(folder: Path, links: int, tell: Callable[[str, Any], None]) -> None:
    """List a million links, the first time and the second, and train one iteration on them."""
    wide = make_wide_store(folder / "wide", links)
    tell(f"open a store of {links} images", timed(partial(Prepared(path=str(wide), keep="nothing").load, "train"))[1])
    make_links(folder / "links", folder / "images", links)
    for start in ("first", "second"):
        linked = ImageFolder(path=str(folder / "links"), image_size=128, test_fraction=0)
        (images, _), spent = timed(partial(linked.load, "train"))
        handed = len(pickle.dumps(images)) / 1e6
        tell(f"list {links} links, the {start} time", {**spent, "handed_to_a_worker_mb": handed})
        del images
    (folder / "recipe.toml").write_text(RECIPE.format(path=folder / "links"))
    for start in ("first", "second"):
        shutil.rmtree(folder / "run", ignore_errors=True)
        if start == "first":
            shutil.rmtree(folder / "cache", ignore_errors=True)
        command = [sys.executable, "-m", "gancore", "train", str(folder / "recipe.toml"), "--out", str(folder / "run")]
        before = os.times()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        tell(
            f"train one iteration on them, the {start} time",
            {"wall_s": round(after.elapsed - before.elapsed, 1), "cpu_s": round(cpu, 1), "load": os.getloadavg()[0]},
        )


def main() -> None:
    """Measure, and print a line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/store"))
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--links", type=int, default=1_281_167)
    parser.add_argument("--only-waits", action="store_true", help="measure nothing but how long a training waits for images")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    os.environ["GANCORE_CACHE"] = str(folder / "cache")
    shutil.rmtree(folder / "cache", ignore_errors=True)

    def tell(what: str, values: Any) -> None:
        print(json.dumps({what: values}), flush=True)

    make_images(folder / "images", arguments.images)
    images, spent = timed(lambda: folder_of(folder / "images", 128))
    tell(f"list {len(images)} files", spent)
    waits(images, tell)
    if arguments.only_waits:
        return
    rates(folder, tell)
    half = torch.arange(0, len(images), 2)
    some, spent = timed(lambda: images.chosen(half))
    tell("choose half of the images", {"bytes_an_image": some.places.nbytes / len(some), **spent})
    tell("two processes killed, then one", killed(folder / "images", folder))
    if arguments.links:
        starts(folder, arguments.links, tell)


if __name__ == "__main__":
    main()
