"""Training many runs, one process and one thread each, some at a time; finished ones are not repeated."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Job:
    """A run to train.

    Attributes:
        place: Where it goes, but for the digest of what it is, so that no figure of other settings is taken for its own.
        recipe: What is trained.
        overlays: Recipes layered over it.
        settings: ``KEY=VALUE`` texts.
    """

    place: Path
    recipe: str
    overlays: Sequence[str] = ()
    settings: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        what = json.dumps([self.recipe, list(self.overlays), list(self.settings)])
        return self.place.with_name(f"{self.place.name}-{_digest(what)}")


def gancore(*words: str) -> str:
    """Run the command line with one thread and return what it printed.

    Raises:
        SystemExit: It failed; with what it said.
    """
    command = [sys.executable, "-m", "gancore", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


PGD_20 = ("--set", "steps=20")
"""Options of `gancore attack` for PGD of 20 steps with a random start."""


def attack(folder: Path, epsilons: str, samples: int, *options: str) -> dict[str, float]:
    """Return accuracies by epsilon under an attack, measured now unless they were, with the same words."""
    words = ("--epsilon", epsilons, "--samples", str(samples), *(options or PGD_20))
    mark = folder / f"attacked-{_digest(json.dumps(words))}.json"
    if not mark.exists():
        gancore("attack", str(folder), *words)
        mark.write_text(json.dumps(lines(folder / "attacks.jsonl")[-1]["accuracy"]))
    found: dict[str, float] = json.loads(mark.read_text())
    return found


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def train(job: Job) -> None:
    """Train a run, or go on with it; a finished one is left alone."""
    if (job.folder / "weights").exists():
        return
    words = [word for overlay in job.overlays for word in ("--with", overlay)]
    words += [word for setting in job.settings for word in ("--set", setting)]
    gancore("train", job.recipe, *words, "--out", str(job.folder), *(["--resume"] if job.folder.exists() else []))
    print(f"{job.folder.name} is done", flush=True)


def train_all(jobs: Sequence[Job], at_a_time: int) -> None:
    """Train runs, some at a time."""
    with ThreadPoolExecutor(at_a_time) as pool:
        for done in [pool.submit(train, job) for job in jobs]:
            done.result()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def seconds(folder: Path) -> float:
    """Return how long a run trained, without its scoring."""
    return float(lines(folder / "log.jsonl")[-1]["seconds"])
