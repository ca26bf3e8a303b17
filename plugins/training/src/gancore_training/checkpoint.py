"""Checkpoints of a run, from which training goes on bit-exactly, and the weights of each network alone: safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from gancore import DatasetInfo, GancoreError
from gancore.tools import GENERATOR, distributed, read_tensors, write_tensors
from gancore_training.changes import only_scored, refuse_another
from gancore_training.label_tables import labels_of, table_of
from gancore_training.missing import Missing
from gancore_training.run_folder import checkpoints as checkpoints
from gancore_training.stored import kept_for_score

if TYPE_CHECKING:
    from gancore.tools import Run
    from gancore_training.training_run import TrainingRun

FORMAT = 2

_MOST = 2**48
"""No run counts further."""


def save(run: TrainingRun, folder: Path) -> None:
    """Write a checkpoint of the run's present state and remove those that the recipe does not keep.

    Of several processes all must call it together; rank 0 writes. What is not finite is never written, so that those that lie
    there are sound. One that was written because the run was stopped takes no other's place, and goes when the next one is
    written.

    Raises:
        GancoreError: The newest losses or the state are not finite, or the checkpoint can't be written.
    """
    tensors = run.tensors()
    distributed.on_rank_zero(lambda: _save(run, folder, tensors))


def _save(run: TrainingRun, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    path = folder / "checkpoints" / f"{run.iteration:08d}.safetensors"
    broken = _not_finite(run, tensors)
    if broken is not None:
        raise diverged(f"{broken} is not finite", run.iteration, folder)
    header = {
        "format": FORMAT,
        "recipe": run.recipe.table,
        "precision": run.precision,
        "choices": run.choices,
        "origins": run.origins,
        "data": run.contents,
        "info": attrs.asdict(run.plan.info),
        "class_counts": run.batches.class_counts,
        # With them the generator is asked for the same labels where the images are not.
        "labels": {} if run.prior is None else table_of(run.batches.labels),
        "numbers": run.numbers(),
        "tensors": len(tensors),
    }
    write_tensors(path, tensors, {**header, **run.counters()})
    settings = run.recipe.run
    saved = checkpoints(folder)
    regular = [other for other in saved if settings.due(settings.checkpoint_every, int(other.stem))]
    # Of zero checkpoints to keep, [-0:] keeps all.
    best = kept_for_score(folder, settings.keep_best)
    for other in {*saved} - {path, *regular[-settings.keep_checkpoints :], *best}:
        other.unlink()


def _not_finite(run: Run, tensors: Mapping[str, Tensor]) -> str | None:
    """Return which of the newest losses, or of the tensors of a checkpoint, is not finite; None where all are.

    A module whose buffers may be infinite by design names them in its ``unbounded``.
    """
    unbounded = {f"{owner}/{name}" for owner, module in run.modules().items() for name in getattr(module, "unbounded", ())}
    every = {**{f"the loss {name}": value for name, value in run.losses.items()}, **tensors}
    checked = {name: value for name, value in every.items() if value.is_floating_point() and name not in unbounded}
    for device in {value.device for value in checked.values()}:
        here = [name for name, value in checked.items() if value.device == device]
        # One wait for the device, whatever their number.
        for name, finite in zip(here, torch.stack([checked[name].isfinite().all() for name in here]).tolist(), strict=True):
            if not finite:
                return name
    return None


def diverged(what: str, iteration: int, folder: Path) -> GancoreError:
    """Return the error that ends a training whose state is no longer finite, with where it can go on."""
    saved = checkpoints(folder)
    last = f"the last checkpoint is {saved[-1]}, which is sound" if saved else "no checkpoint was written yet"
    return GancoreError(
        f"{what} at iteration {iteration}; {last}. Lower a learning rate or a weight, or set run.precision to float32, and "
        "go on with --resume --changed."
    )


def load(
    run: TrainingRun,
    path: Path,
    content: tuple[dict[str, Any], dict[str, Tensor]] | None = None,
    *,
    changed: bool = False,
    bare: bool = False,
    missing: Missing | None = None,
) -> dict[str, Any]:
    """Restore a run from a checkpoint, and return its header.

    Args:
        run: The run.
        path: The checkpoint.
        content: What `read` has returned of it, where it was read before.
        changed: Take over numbers of the recipe that may have changed.
        bare: Whether networks that are not trained, and what others began with, were left out of the run.
        missing: What of the recipe was left out of it, for its plugins are not installed.

    Raises:
        GancoreError: The file is damaged, of another format, of another recipe, or was trained with other networks.
    """
    header, tensors = read(path) if content is None else content
    missing = missing or Missing()
    refuse_another(str(path), missing.left_out(header["recipe"]), run.plan, changed=changed)
    if not changed and run.recipe.run.precision not in ("auto", header["precision"]):
        raise GancoreError(
            f"{path} was computed in {header['precision']}; leave out run.precision, or go on in another one with --changed."
        )
    if run.recipe.run.precision == "auto" and header["precision"] != run.precision:
        # What was chosen when the run began holds to its end, wherever it goes on.
        run.precision, run.precision_why = header["precision"], "as in the checkpoint"
    before, now = known(header, path)[0], run.plan.info
    for what, number, wanted in (("classes", now.classes, before.classes), ("attributes", now.attributes, before.attributes)):
        if number != wanted:
            raise GancoreError(
                f"the data have {number} {what}, and not the {wanted} that {path} was trained on; bring those back, or choose "
                "another --out."
            )
    # Those of an accelerator that the recipe no longer names are forgotten with it.
    run.choices = {name: text for name, _ in run.plan.accelerators if (text := header.get("choices", {}).get(name)) is not None}
    scored = {f"networks.{label}" for label in only_scored(run.plan)}
    for place in () if bare else sorted(run.origins.keys() & header["origins"].keys() - scored):
        if run.origins[place] != header["origins"][place]:
            raise GancoreError(f"{path} was trained with other weights of {place} than these; put the former ones back.")
    try:
        run.restore(missing.without_state(tensors), header, missing.without_state(header["numbers"]))
        if header.get("labels"):
            run.batches.labels = labels_of(header["labels"], run.plan.info, run.device)
    except GancoreError as error:
        raise _instead(path, GancoreError(f"{path} can't be restored: {error}")) from error
    return header


def refuse_other_data(run: TrainingRun, header: Mapping[str, Any], path: Path) -> None:
    """Refuse data that are not those that a checkpoint was trained on, wherever they lie.

    Raises:
        GancoreError: They are others.
    """
    for label, (number, content) in run.contents.items():
        before = header["data"].get(label, [0, ""])
        if before != [number, content]:
            which = f"{number} images, and not the {before[0]}" if number != before[0] else f"others than the {number}"
            raise GancoreError(
                f"the images of {label} are {which} that {path} was trained on; bring those back, or choose another --out."
            )


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors of a checkpoint.

    Raises:
        GancoreError: It is damaged, or of another format.
    """
    try:
        tensors, header = read_tensors(path, sealed=True)
        _check(header, len(tensors), path)
    except GancoreError as error:
        raise _instead(path, error) from error
    return header, tensors


def known(header: Mapping[str, Any], path: Path) -> tuple[DatasetInfo, list[int]]:
    """Return what the data of a checkpoint declared, and their images per class.

    Raises:
        GancoreError: The header tells no such thing.
    """
    try:
        info = DatasetInfo(**{**header["info"], "class_names": tuple(header["info"]["class_names"])})
        return info, [int(number) for number in header["class_counts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _instead(path, GancoreError(f"{path} is damaged: it does not say what its data are")) from error


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
    tables = all(isinstance(header.get(name), dict) for name in ("recipe", "origins", "data", "info", "numbers"))
    choices = header.get("choices", {})
    tables = tables and isinstance(choices, dict) and all(isinstance(text, str) for text in choices.values())
    if header["tensors"] != tensors or not tables or header.get("precision") not in ("float32", "bfloat16"):
        raise GancoreError(f"{path} is damaged: it lacks tensors, or does not say of what run it is")


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
