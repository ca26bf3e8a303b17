"""Checkpoints of a run, from which training goes on bit-exactly, and the weights of each network alone: safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gancore.engine import Labels
from gancore.errors import GancoreError
from gancore.files import read_tensors, write_tensors
from gancore.parallel import distributed
from gancore.plan import GENERATOR
from gancore.training.run_folder import checkpoints as checkpoints

if TYPE_CHECKING:
    from gancore.engine import Run

FORMAT = 2

_MOST = 2**48
"""No run counts further."""


def save(run: Run, folder: Path) -> None:
    """Write a checkpoint of the run's present state and remove those that the recipe does not keep.

    Of several processes all must call it together; rank 0 writes. What is not finite is never written, so that those that lie
    there are sound. One that was written because the run was stopped takes no other's place, and goes when the next one is
    written.

    Raises:
        GancoreError: The newest losses or the state are not finite, or the checkpoint can't be written.
    """
    tensors = run.tensors()
    distributed.on_rank_zero(lambda: _save(run, folder, tensors))


def _save(run: Run, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    path = folder / "checkpoints" / f"{run.iteration:08d}.safetensors"
    broken = run.not_finite(tensors)
    if broken is not None:
        raise diverged(f"{broken} is not finite", run.iteration, folder)
    header = {"format": FORMAT, "recipe": run.recipe.digest, "precision": run.precision, "tensors": len(tensors)}
    # With them the generator is asked for the same labels where the images are not.
    labels = {} if run.prior is None else {"labels": run.batches.labels.table()}
    write_tensors(path, tensors, {**header, **run.counters(), "numbers": run.numbers(), **labels})
    settings = run.recipe.run
    saved = checkpoints(folder)
    regular = [other for other in saved if settings.due(settings.checkpoint_every, int(other.stem))]
    # Of zero checkpoints to keep, [-0:] keeps all.
    for other in {*saved} - {path, *regular[-settings.keep_checkpoints :]}:
        other.unlink()


def diverged(what: str, iteration: int, folder: Path) -> GancoreError:
    """Return the error that ends a training whose state is no longer finite, with where it can go on."""
    saved = checkpoints(folder)
    last = f"the last checkpoint is {saved[-1]}, which is sound" if saved else "no checkpoint was written yet"
    return GancoreError(
        f"{what} at iteration {iteration}; {last}. Lower a learning rate or a weight, or set run.precision to float32."
    )


def load(run: Run, path: Path) -> None:
    """Restore a run from a checkpoint.

    Raises:
        GancoreError: The file is damaged, of another format, or of another recipe.
    """
    try:
        tensors, header = read_tensors(path, sealed=True)
        _check(header, len(tensors), path)
    except GancoreError as error:
        raise _instead(path, error) from error
    if header["recipe"] != run.recipe.digest:
        raise GancoreError(f"{path} belongs to another recipe; use the recipe.toml beside it, or another --out.")
    if run.recipe.run.precision == "auto" and header["precision"] != run.precision:
        # What was chosen when the run began holds to its end, wherever it goes on.
        run.precision, run.precision_why = header["precision"], "as in the checkpoint"
    try:
        run.restore(tensors, header, header["numbers"])
        if "labels" in header:
            run.batches.labels = Labels.from_table(header["labels"], run.plan.info, run.device)
    except GancoreError as error:
        raise _instead(path, GancoreError(f"{path} can't be restored: {error}")) from error


def _instead(path: Path, error: GancoreError) -> GancoreError:
    """Return an error of a checkpoint with what to do about it."""
    others = [other.name for other in checkpoints(path.parent.parent) if other != path]
    remedy = f"delete it to go on from {others[-1]}" if others else "start the run anew in another folder"
    return GancoreError(f"the checkpoint {str(error).rstrip('.')}; {remedy}.")


def _check(header: Mapping[str, Any], tensors: int, path: Path) -> None:
    """Refuse a header that no checkpoint has."""
    if header.get("format") != FORMAT:
        raise GancoreError(f"{path} is of another version of gancore (format {header.get('format')!r:.20}, expected {FORMAT})")
    for name in ("iteration", "draws", "latents", "tensors"):
        number = header.get(name)
        if type(number) is not int or not 0 <= number <= _MOST:
            raise GancoreError(f"{path} is damaged: its {name} is {number!r:.40}")
    if header["tensors"] != tensors or header.get("precision") not in ("float32", "bfloat16"):
        raise GancoreError(f"{path} is damaged: it lacks tensors, or does not say its precision")
    if not isinstance(header.get("numbers"), dict):
        raise GancoreError(f"{path} is damaged: it does not say its numbers")


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
