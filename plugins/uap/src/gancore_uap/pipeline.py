"""The stages from a classifier and an unrelated image set to a universal perturbation, each resumable (CBGAN A.7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from gancore_standard.tools import save_picture
from gancore_training import checkpoint, recipe_digest, train

from gancore import GancoreError
from gancore.tools import Recipe, as_path, digest, fingerprint, write_text
from gancore_uap import cycles, pictures, plots, victims
from gancore_uap.budgets import whole_levels
from gancore_uap.perturbation_files import Perturbation
from gancore_uap.perturbations import Perturbed
from gancore_uap.planning import Prior
from gancore_uap.proxy_files import SUMMARY, ProxySummary, Writer
from gancore_uap.workbench import Workbench, folder_for

if TYPE_CHECKING:
    from gancore_training import TrainingRun

    from gancore.tools import Run

RECORD = "made-from.json"
"""What a stage was made from beyond its recipe: files whose content may change under one name."""


def make_proxy(workbench: Workbench, prior: Prior, out: Path) -> Path:
    """Train a prior GAN, sample its last cycles into a proxy set, and return the set's folder.

    Args:
        workbench: Where to work.
        prior: What to train and to sample.
        out: Folder for ``gan/``, ``proxy/`` and ``classes.png``.

    Raises:
        GancoreError: Anything wrong with data, weights or the folder, or it holds something else.
    """
    recipe = prior.recipe
    about = {
        "recipe": recipe.name,
        "digest": recipe_digest(recipe),
        "classifier": recipe.group("networks")[victims.LABEL].declared.full_name,
        "weights": _weights(recipe),
        "sampled": [len(prior.cycles), prior.images, prior.form],
    }
    folder = folder_for(out / "proxy")
    if (folder / SUMMARY).is_file():
        summary = ProxySummary.read(folder)
        if _plain(about) != summary.about:
            raise GancoreError(f"{folder} holds a proxy set of another recipe, or sampled otherwise; choose another --out.")
        if not (out / "classes.png").exists():
            _plot(summary, out / "classes.png")
        workbench.say(f"The proxy set is in {folder} already.")
        return folder
    _keep_record(out / "gan", {"weights": about["weights"]})
    run = _train(workbench, recipe, out / "gan")
    classifier = run.networks[victims.LABEL].eval()
    info = run.plan.info
    writer = Writer(
        folder,
        form=prior.form,
        channels=info.channels,
        image_size=info.image_size,
        classes=classifier.classes,
        about=about,
    )
    ends = [out / "gan" / "checkpoints" / f"{end:08d}.safetensors" for end in prior.cycles]
    summary = cycles.sample_cycles(run, ends, prior.images, classifier, writer, progress=workbench.progress.announce)
    _plot(summary, out / "classes.png")
    workbench.say(
        f"{summary.images} images of {len(summary.cycles)} cycles, of {summary.distinct_so_far[-1]} of "
        f"{classifier.classes} classes, are in {folder}; the classes by cycle in {out / 'classes.png'}"
    )
    workbench.say(
        f"The classifier's mean confidence in them is {summary.confidence:.2f}, the mean entropy {summary.entropy:.2f} nats."
    )
    return folder


def _plot(summary: ProxySummary, path: Path) -> None:
    each, so_far = summary.distinct, summary.distinct_so_far
    save_picture(plots.classes_picture(summary.cycles, summary.classes, each=each, so_far=so_far), path)


def _train(workbench: Workbench, recipe: Recipe, folder: Path) -> TrainingRun:
    begun = (folder / "recipe.toml").exists()
    return train(recipe, workbench.registry, folder, device=workbench.device, resume=begun, progress=workbench.progress)


def _weights(recipe: Recipe) -> dict[str, str]:
    """Return a digest of each weights file that a recipe names."""
    digests = {}
    for label, table in sorted(recipe.table.get("networks", {}).items()):
        path = as_path(str(table["weights"]), f"networks.{label}.weights") if table.get("weights") else None
        # One that is missing is reported where it is loaded.
        if path is not None and path.is_file():
            digests[label] = digest([path.read_bytes()], 16)
    return digests


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _keep_record(folder: Path, origin: Mapping[str, Any]) -> None:
    """Write down what a training is made from, beside its folder, or refuse to go on with one that was made from another."""
    path = folder_for(folder.parent) / f"{folder.name}-{RECORD}"
    if path.is_file() and checkpoint.checkpoints(folder):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise GancoreError(f"{path} is damaged ({error}); choose another --out.") from error
        if before != _plain(origin):
            changed = [key for key in {**before, **origin} if before.get(key) != _plain(origin).get(key)]
            raise GancoreError(
                f"{folder} was trained from other files of the same names ({', '.join(changed)} changed since); "
                "choose another --out."
            )
        return
    write_text(path, json.dumps(origin) + "\n")


def craft(workbench: Workbench, recipe: Recipe, out: Path, *, victim_specs: Sequence[str]) -> Path:
    """Craft a perturbation and return its file.

    Args:
        workbench: Where to work.
        recipe: What `plan_crafting` gave.
        out: Folder for ``crafting/``, ``uap.safetensors`` and ``uap.png``.
        victim_specs: The classifiers to fool, as for `plan_crafting`.

    Raises:
        GancoreError: Anything wrong with data, weights or the folder, or it holds something else.
    """
    origin: dict[str, Any] = {"weights": _weights(recipe)}
    data = recipe.table["data"]
    if recipe.entries["data", "data"].declared.full_name == "uap/proxy":
        summary = Path(data["path"]) / SUMMARY
        origin["proxy"] = digest([summary.read_bytes()], 16)
    _keep_record(out / "crafting", origin)
    run = _train(workbench, recipe, out / "crafting")
    perturbation = from_run(run, victims.names_of(victim_specs))
    if "proxy" in origin:
        perturbation = attrs.evolve(perturbation, about={**perturbation.about, "proxy": origin["proxy"]})
    path = out / "uap.safetensors"
    perturbation.save(path)
    save_picture(pictures.perturbation_picture(perturbation.delta), out / "uap.png")
    workbench.say(f"The perturbation is in {path}, its picture in {out / 'uap.png'}")
    return path


def from_run(run: Run, names: Sequence[str]) -> Perturbation:
    """Return the perturbation that a crafting run trained, in whole levels of 8 bits.

    Args:
        run: The run.
        names: Its victims.

    Raises:
        GancoreError: The run trained no perturbation.
    """
    generator = run.generator()
    if not isinstance(generator, Perturbed):
        raise GancoreError(f"{run.recipe.name} trains no perturbation; craft by a recipe such as uap/gap or uap/direct.")
    with torch.no_grad(), run.autocast():
        delta = generator.perturbation()[0].detach().float().cpu()
    labels = [victims.label_of(place) for place in range(len(names))]
    about = {
        "recipe": run.recipe.name,
        "digest": recipe_digest(run.recipe),
        "iterations": run.iteration,
        "seed": run.seed,
        "precision": run.precision,
        "data": run.recipe.entries["data", "data"].declared.full_name,
        "images": len(run.batches.selection[1]),
        "victims": {name: fingerprint(run.networks[label]) for name, label in zip(names, labels, strict=True)},
    }
    levels = whole_levels(delta, generator.epsilon, generator.norm)
    return Perturbation(levels, generator.epsilon, generator.norm, about)
