"""Checkpoints of a run, from which training goes on bit-exactly, and the weights of each network alone: safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gancore.errors import GancoreError
from gancore.files import read_tensors, write_tensors
from gancore.plan import GENERATOR
from gancore.training.run_folder import checkpoints as checkpoints

if TYPE_CHECKING:
    from gancore.engine import Run

FORMAT = 1


def save(run: Run, folder: Path) -> None:
    """Write a checkpoint of the run's present state and remove those that the recipe does not keep.

    Of several processes all must call it together; rank 0 writes.
    One that was written because the run was stopped takes no other's place, and goes when the next one is written.
    """
    path = folder / "checkpoints" / f"{run.iteration:08d}.safetensors"
    header = {"format": FORMAT, "recipe": run.recipe.digest, "precision": run.precision, **run.counters()}
    tensors = run.tensors()
    if run.rank:
        return
    write_tensors(path, tensors, header)
    settings = run.recipe.run
    saved = checkpoints(folder)
    regular = [other for other in saved if settings.due(settings.checkpoint_every, int(other.stem))]
    # Of zero checkpoints to keep, [-0:] keeps all.
    for other in {*saved} - {path, *regular[-settings.keep_checkpoints :]}:
        other.unlink()


def load(run: Run, path: Path) -> None:
    """Restore a run from a checkpoint.

    Raises:
        GancoreError: The file is damaged, of another format, or of another recipe.
    """
    try:
        tensors, header = read_tensors(path)
    except GancoreError as error:
        others = [other.name for other in checkpoints(path.parent.parent) if other != path]
        remedy = f"delete it to go on from {others[-1]}" if others else "start the run anew in another folder"
        raise GancoreError(f"the checkpoint {str(error).rstrip('.')}; {remedy}.") from error
    if header.get("format") != FORMAT:
        raise GancoreError(
            f"{path} is no checkpoint of this version of gancore (format {header.get('format')}, expected {FORMAT})."
        )
    if header["recipe"] != run.recipe.digest:
        raise GancoreError(f"{path} belongs to another recipe; use the recipe.toml beside it, or another --out.")
    if run.recipe.run.precision == "auto" and header.get("precision") != run.precision:
        # What was chosen when the run began holds to its end, wherever it goes on.
        run.precision, run.precision_why = header["precision"], "as in the checkpoint"
    run.restore(tensors, {key: header[key] for key in ("iteration", "draws", "latents")})


def export(run: Run, folder: Path) -> None:
    """Write each network and head that a run has trained, of the generator its average, for other recipes to start from."""
    networks = {label: run.generator() if label == GENERATOR else run.networks[label] for label in run.players}
    for kind, modules, planned, prefix in (
        ("network", networks, run.plan.networks, ""),
        ("head", run.heads, run.plan.heads, "heads."),
    ):
        for label, module in modules.items():
            header = {kind: planned[label].full_name, "label": label, "recipe": run.recipe.name}
            write_tensors(folder / f"{prefix}{label}.safetensors", module.state_dict(), header)
