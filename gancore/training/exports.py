"""Writing each trained network and head alone, for other recipes to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from gancore.engine import Run
from gancore.files import write_tensors
from gancore.plan import GENERATOR, Planned


def export(run: Run, folder: Path) -> None:
    """Write the weights that a run has trained, of the generator its average, one safetensors file each."""

    def write(kind: str, label: str, planned: Planned[Any, Any], module: nn.Module, name: str) -> None:
        header = {kind: planned.full_name, "label": label, "recipe": run.recipe.name}
        write_tensors(folder / f"{name}.safetensors", module.state_dict(), header)

    for label in run.players:
        network = run.generator() if label == GENERATOR else run.networks[label]
        write("network", label, run.plan.networks[label], network, label)
    for label, head in run.heads.items():
        write("head", label, run.plan.heads[label], head, f"heads.{label}")
