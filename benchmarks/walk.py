"""How far a reader walks with one minibatch: the files, Python calls and crossings between files of one iteration.

    python -m benchmarks.walk [RECIPE] [--with FRAGMENT]... [--each]

Counted are the calls of functions that are defined in gancore and its plugins, in an iteration after three others, in which
nothing is built any more. A crossing is a call from one of their files into another; a call that torch makes is a call from
the file that called torch.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import click
import torch
from gancore_training import TrainingRun

from gancore.plan import make_plan
from gancore.recipe import read
from gancore.registry import registry


class Walk:
    """Counts calls, files and crossings as `sys.setprofile` reports them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.crossings: Counter[tuple[str, str, str]] = Counter()
        self.depth = 0
        self._files: list[str] = []

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Hear of a call or a return."""
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        # Comprehensions and generators are no calls that a reader follows.
        if "/gancore" not in path or "site-packages" in path or name.startswith("<") or event not in ("call", "return"):
            return
        if event == "return":
            self._files.pop()
            return
        file = path.split("/gancore", 1)[1].lstrip("/")
        self.calls[file] += 1
        if self._files and self._files[-1] != file:
            self.crossings[self._files[-1], file, name] += 1
        self._files.append(file)
        self.depth = max(self.depth, len(self._files))


@click.command()
@click.argument("recipe", default="cbgan/digits-lt")
@click.option("--with", "overlays", multiple=True, default=("fastrobgan/free", "dsgan/difference"), show_default=True)
@click.option("--each", is_flag=True, help="Print each file and each crossing.")
def main(recipe: str, overlays: tuple[str, ...], each: bool) -> None:
    """Walk through one iteration of a recipe."""
    torch.set_num_threads(1)
    installed = registry()
    run = TrainingRun(make_plan(read(recipe, installed, overlays=overlays), installed), torch.device("cpu"))
    for _ in range(3):
        run.step()
    walk = Walk()
    sys.setprofile(walk)
    run.step()
    sys.setprofile(None)
    crossings = sum(walk.crossings.values())
    click.echo(f"{len(walk.calls)} files, {sum(walk.calls.values())} calls, {crossings} crossings, {walk.depth} deep")
    if each:
        for file, number in walk.calls.most_common():
            click.echo(f"{number:5}  {file}")
        for (source, target, name), number in walk.crossings.most_common():
            click.echo(f"{number:5}  {source} -> {target} {name}")


if __name__ == "__main__":
    main()
