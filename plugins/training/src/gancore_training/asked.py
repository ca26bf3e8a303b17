"""A training as it is asked for, on the command line or from Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gancore import GancoreError
from gancore.tools import Registry, Run, as_path, read
from gancore_training.options import recipe_title
from gancore_training.progress import Progress
from gancore_training.trainer import train

Named = str | Mapping[str, Any]


def train_recipe(
    recipe: Named,
    plugins: Registry,
    device: torch.device,
    *,
    overlays: Sequence[Named],
    assignments: Sequence[str],
    out: Path | None,
    resume: bool,
    changed: bool,
    observers: Collection[str],
    progress: Progress,
) -> tuple[Run, Path]:
    """Read a recipe with its layers, train it, and return the finished run and its folder.

    Args:
        recipe: A recipe's name, the path of a TOML file, or a table.
        plugins: Where its components come from.
        device: Where to compute.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.
        out: The run's folder; None for the usual one, `folder_of`.
        resume: Go on from the newest checkpoint.
        changed: Go on also where numbers that may change have done so.
        observers: Plugins that observe the training.
        progress: Whom to tell.

    Raises:
        GancoreError: As `gancore_training.train`, or the recipe is a table and the folder not said.
        Interrupted: A signal came; the state is saved.
    """
    checked = read(recipe, plugins, overlays=overlays, assignments=assignments)
    folder = folder_of(recipe, overlays) if out is None else out
    run = train(checked, plugins, folder, device=device, resume=resume, changed=changed, progress=progress, observers=observers)
    return run, folder


def folder_of(recipe: Named, overlays: Sequence[Named]) -> Path:
    """Return the folder of a run that nobody has named: ``runs/RECIPE``.

    Raises:
        GancoreError: A recipe is a table, which has no name.
    """
    names = [name for name in (recipe, *overlays) if isinstance(name, str)]
    if len(names) <= len(overlays):
        raise GancoreError("a recipe that is a table has no name to call its folder by; name the folder by out.")
    return as_path(Path("runs") / recipe_title(names[0], names[1:]), "the folder of the run")
