"""Hostile and broken inputs by mutation, with a fixed seed: each is refused by one short sentence, or works.

``python -m tests.fuzz`` runs some thousands (see its ``--help``), and a test runs some hundreds. A kind of input is a module of
this package with a function ``(rng, folder) -> Input`` that makes one; `KINDS` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz import data_folders, overrides, plugins, recipes, run_folders, weights
from tests.fuzz.inputs import Input

KINDS: dict[str, Callable[[Random, Path], Input]] = {
    "recipe": recipes.make,
    "override": overrides.make,
    "plugin": plugins.make,
    "run folder": run_folders.make,
    "weights": weights.make,
    "data folder": data_folders.make,
}
"""Every kind of input -> what makes one in an empty folder, which is the working folder of the command."""

SHARES = {"recipe": 8, "override": 8, "plugin": 4, "run folder": 3, "weights": 2, "data folder": 2}
"""How many of each kind are made, one of another."""


def make(seed: int, folder: Path) -> Input:
    """Return the input of a number; the same number gives the same input."""
    rng = Random(seed)
    (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
    made = KINDS[kind](rng, folder)
    made.kind, made.seed = kind, seed
    return made
