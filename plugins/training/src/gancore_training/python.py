"""Training and opening runs from Python: `gancore.train` and `gancore.load`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from gancore.tools import as_path, choose_device, refusal, registry
from gancore_training.asked import train_recipe
from gancore_training.local_code import LocalCode
from gancore_training.options import with_run_options
from gancore_training.progress import Progress
from gancore_training.ranks import one_process
from gancore_training.stopping import Interrupted
from gancore_training.streams import streams_as_before
from gancore_training.terminal import Terminal
from gancore_training.trained import TrainedRun
from gancore_training.trainer import open_run
from gancore_training.written import Assignments, RecipeLike, assignments_of, recipe_of, recipes_of, take


def train(
    recipe: RecipeLike,
    *,
    with_: RecipeLike | Iterable[RecipeLike] = (),
    set: Assignments = (),
    out: str | os.PathLike[str] | None = None,
    iterations: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    changed: bool = False,
    device: str = "auto",
    track: Iterable[str] = (),
    components: Iterable[Any] = (),
    trust_local: bool = False,
    progress: bool = False,
) -> TrainedRun:
    """Train a recipe into a folder, as `gancore train` does, and return the run.

    Networks that the recipe needs first are trained first. Ctrl-C (in a notebook, the stop button) saves the run and raises
    KeyboardInterrupt; the same call with ``resume=True`` goes on from there.

    Args:
        recipe: A recipe's name, the path of a TOML file, or a table.
        with_: Recipes or fragments to lay over it, one or several.
        set: Values by dotted keys, e.g. ``{"run.batch_size": 32}``. A `use` may be a class: ``{"losses.mine.use": Mine}``.
        out: The run's folder; by default ``runs/RECIPE``.
        iterations: Length of the training; as ``run.iterations`` in `set`.
        seed: As ``run.seed`` in `set`.
        resume: Go on from the newest checkpoint in the folder, to the last bit; start anew where there is none.
        changed: Go on also with another learning rate, weight of a loss, or precision.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        track: Plugins that observe the training.
        components: Classes that recipes name by ``python:NAME``, beside those in `recipe`, `with_` and `set`.
        trust_local: Run the code of files that recipes name, e.g. ``use = "./mine.py:Mine"``.
        progress: Tell on standard error how it goes.

    Raises:
        GancoreError: Whatever `gancore train` refuses, in the same sentence.
        KeyboardInterrupt: It was stopped, after its state was saved.
    """
    one_process("gancore.train")
    classes = _by_name(components)
    overlays = recipes_of(with_, classes)
    named = recipe_of(recipe, classes)
    texts = with_run_options(assignments_of(set, classes), seed=seed, iterations=iterations)
    told = _Shown() if progress else _Told()
    with _as_called(device) as target:
        plugins = LocalCode(registry(), classes, trusted=trust_local)
        run, folder = train_recipe(
            named,
            plugins,
            target,
            overlays=overlays,
            assignments=texts,
            out=None if out is None else as_path(out, "out"),
            resume=resume,
            changed=changed,
            observers=(track,) if isinstance(track, str) else tuple(track),
            progress=told,
        )
        return TrainedRun(run, folder, told.lines)


def load(
    path: str | os.PathLike[str],
    *,
    at: int | str | None = None,
    device: str = "auto",
    components: Iterable[Any] = (),
    trust_local: bool = False,
) -> TrainedRun:
    """Open a run that was trained; neither its images nor networks that it does not train are needed.

    Args:
        path: The run's folder.
        at: The stored checkpoint to take: an iteration, or ``best:fid/fid`` for the best by that score; None for the newest.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        components: Classes that it was trained with and no plugin declares.
        trust_local: Run the code of files that its recipe names.

    Raises:
        GancoreError: The folder holds no run, or no sound checkpoint, or something that it needs is not here.
    """
    one_process("gancore.load")
    with _as_called(device) as target:
        plugins = LocalCode(registry(), _by_name(components), trusted=trust_local)
        folder, told = as_path(path, "the run"), _Told()
        run = open_run(folder, plugins, target, told, bare=True, at=None if at is None else str(at))
        return TrainedRun(run, folder, told.lines)


class _Told(Progress):
    """Keeps what is announced."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        """Show one line."""
        self.lines.append(text)
        super().announce(text)


class _Shown(_Told, Terminal):
    """Keeps what is announced, and shows it and how the training goes."""


def _by_name(components: Iterable[Any]) -> dict[str, Any]:
    classes: dict[str, Any] = {}
    for component in components:
        take(component, classes, "components")
    return classes


@contextlib.contextmanager
def _as_called(device: str) -> Iterator[torch.device]:
    """Run the block on a device, refuse what the command line refuses, and leave the process as it was."""
    try:
        chosen = choose_device(device)
        with streams_as_before(chosen):
            yield chosen
    except Interrupted as stopped:
        where = f"the newest checkpoint is {stopped.saved}" if stopped.saved else "nothing was saved yet"
        stopped.args = (f"stopped; {where}; the same call with resume=True goes on from there",)
        raise
    except Exception as error:
        refused = refusal(error)
        if refused is None or refused is error:
            raise
        raise refused from error
