"""Training many runs, one process and one thread each, some at a time; finished ones are not repeated."""

from __future__ import annotations

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
        folder: Where it goes.
        recipe: What is trained.
        overlays: Recipes layered over it.
        settings: ``KEY=VALUE`` texts.
    """

    folder: Path
    recipe: str
    overlays: Sequence[str] = ()
    settings: Sequence[str] = ()


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
