"""A trained run that all tests of exports look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import open_run, train

from gancore.tools import Run, check_table, merge, registry

CPU = torch.device("cpu")

GAME: dict[str, Any] = {
    "summary": "A tiny game",
    "cite": "arXiv:1406.2661",
    "run": {"iterations": 4, "batch_size": 16, "latent_dim": 6, "precision": "float32", "checkpoint_every": 2},
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.125, "conditional": True},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.125},
    },
    "heads": {"adversarial": {"use": "standard/projection"}},
    "losses": {"adversarial": {"use": "standard/hinge"}},
    "ema": {"decay": 0.9},
}

UNCONDITIONAL: dict[str, Any] = {
    "networks": {"generator": {"conditional": False}},
    "heads": {"adversarial": {"use": "standard/linear"}},
}

Trained = Callable[..., Run]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train the tiny game with tables layered over it, once for each, and open it as a command that samples does."""
    opened: dict[str, Path] = {}

    def get(*tables: dict[str, Any], **words: Any) -> Run:
        table = GAME
        for over in tables:
            table = merge(table, over)
        if repr(tables) not in opened:
            folder = tmp_path_factory.mktemp("runs") / "run"
            train(check_table(table, registry(), name="tiny"), registry(), folder, device=CPU)
            opened[repr(tables)] = folder
        return open_run(opened[repr(tables)], registry(), CPU, bare=True, **words)

    return get
