"""What a run was made with."""

from __future__ import annotations

import platform
from typing import Any

import torch

from gancore.engine import Run, processor
from gancore.parallel import distributed
from gancore.version import __version__


def environment(run: Run) -> dict[str, Any]:
    """Return what a run was made with; stored beside it."""
    info = run.plan.info
    return {
        "recipe_name": run.recipe.name,
        "recipes": list(run.recipe.layers),
        "gancore": __version__,
        "plugins": run.plan.registry.plugin_versions(run.recipe.plugins),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "precision": run.precision,
        "parameters": {name: sum(p.numel() for p in player.parameters) for name, player in run.players.items()},
        "class_counts": run.batches.class_counts,
        "class_names": list(info.class_names),
    }
