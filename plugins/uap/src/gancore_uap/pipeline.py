"""The stages from a classifier and an unrelated image set to a universal perturbation, each resumable (CBGAN A.7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch

from gancore import GancoreError, checkpoint
from gancore.evaluation import fingerprint
from gancore.pictures import save_picture
from gancore.recipe import Recipe, merge, read
from gancore.training import Progress, train
from gancore_uap import pictures, proxy, victims
from gancore_uap.budgets import whole_levels
from gancore_uap.files import Perturbation

if TYPE_CHECKING:
    from gancore.registry import Registry
    from gancore.run import Run


@attrs.frozen
class Setting:
    """Where the stages work.

    Attributes:
        registry: The installed plugins.
        device: Where to compute.
        progress: Told what happens.
        say: Shows one line of a result.
    """

    registry: Registry
    device: torch.device
    progress: Progress
    say: Callable[[str], None]


def make_proxy(
    setting: Setting,
    name: str,
    out: Path,
    *,
    victim: str | None = None,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    cycles: int | None = None,
    images: int = 1024,
    form: Literal["safetensors", "png"] = "safetensors",
) -> Path:
    """Train a prior GAN, sample its last cycles into a proxy set, and return the set's folder.

    Args:
        setting: Where to work.
        name: The recipe of the prior GAN.
        out: Folder for ``gan/``, ``proxy/`` and ``classes.png``.
        victim: The classifier in the loop, in place of the recipe's.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.
        cycles: Checkpoints to sample from, the last ones; by default as many as the recipe keeps.
        images: Images of each.
        form: How the images are kept.

    Raises:
        GancoreError: Anything wrong with the recipe or the folder, or the recipe has fewer cycles.
    """
    networks = {} if victim is None else {"networks": victims.networks_of([victim], setting.registry)}
    kept = [] if cycles is None else [f"run.keep_checkpoints={cycles}"]
    recipe = read(name, setting.registry, overlays=overlays, assignments=[*assignments, *kept], overrides=networks)
    cycles = recipe.run.keep_checkpoints
    _check_cycles(recipe, cycles)
    if victims.LABEL not in recipe.group("networks"):
        raise GancoreError(f"{recipe.name} has no [networks.{victims.LABEL}] in its loop; add one with --victim.")
    about = {
        "recipe": recipe.name,
        "digest": recipe.digest,
        "classifier": recipe.group("networks")[victims.LABEL].declared.full_name,
        "sampled": [cycles, images, form],
    }
    folder = out / "proxy"
    if _finished(folder, about):
        setting.say(f"The proxy set is in {folder} already.")
        return folder
    run = train(
        recipe,
        setting.registry,
        out / "gan",
        device=setting.device,
        resume=(out / "gan" / "recipe.toml").exists(),
        progress=setting.progress,
    )
    classifier = run.networks[victims.LABEL].eval()
    info = run.plan.info
    writer = proxy.Writer(
        folder,
        form=form,
        channels=info.channels,
        image_size=info.image_size,
        classes=classifier.classes,
        about=about,
    )
    found = checkpoint.checkpoints(out / "gan")[-cycles:]
    summary = proxy.sample_cycles(run, found, images, classifier, writer, progress=setting.progress.announce)
    plot = pictures.classes_picture(summary.cycles, summary.classes, each=summary.distinct, so_far=summary.distinct_so_far)
    save_picture(plot, out / "classes.png")
    setting.say(
        f"{summary.images} images of {len(summary.cycles)} cycles, of {summary.distinct_so_far[-1]} of "
        f"{classifier.classes} classes, are in {folder}; the classes by cycle in {out / 'classes.png'}"
    )
    return folder


def _check_cycles(recipe: Recipe, cycles: int) -> None:
    every, iterations = recipe.run.checkpoint_every, recipe.run.iterations
    # The last iteration is a checkpoint too.
    found = -(-iterations // every) if every else 0
    if not 1 <= cycles <= found:
        raise GancoreError(
            f"{recipe.name} has {found} cycles (run.checkpoint_every = {every}, run.iterations = {iterations}), and "
            f"{cycles or 'no'} ones are to be sampled; set run.checkpoint_every to the length of a cycle, and --cycles to at "
            "least 1 and at most their number."
        )


def _finished(folder: Path, about: Mapping[str, Any]) -> bool:
    """Return whether a proxy set lies there; one of other settings is refused."""
    path = folder / "proxy.json"
    if not path.is_file():
        return False
    before = proxy.ProxySummary.read(folder).about
    if json.loads(json.dumps(dict(about))) != before:
        raise GancoreError(f"{folder} holds a proxy set of another recipe, or sampled otherwise; choose another --out.")
    return True


def craft(
    setting: Setting,
    method: str,
    out: Path,
    *,
    victim_specs: Sequence[str],
    data: Mapping[str, Any],
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> Path:
    """Craft a perturbation and return its file.

    Args:
        setting: Where to work.
        method: The recipe of the crafting, e.g. ``uap/gap``.
        out: Folder for ``crafting/``, ``uap.safetensors`` and ``uap.png``.
        victim_specs: The classifiers to fool, all at once.
        data: The ``[data]`` to craft on.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.

    Raises:
        GancoreError: Anything wrong with recipe, data, victims or folder.
    """
    overrides: dict[str, Any] = {"data": dict(data), "networks": victims.networks_of(victim_specs, setting.registry)}
    recipe = read(method, setting.registry, overlays=overlays, assignments=assignments, overrides=overrides)
    if len(victim_specs) > 1:
        overrides["losses"] = _once_for_each(recipe, len(victim_specs))
        recipe = read(method, setting.registry, overlays=overlays, assignments=assignments, overrides=overrides)
    run = train(
        recipe,
        setting.registry,
        out / "crafting",
        device=setting.device,
        resume=(out / "crafting" / "recipe.toml").exists(),
        progress=setting.progress,
    )
    perturbation = from_run(run, [victims.short_name(spec) for spec in victim_specs])
    path = out / "uap.safetensors"
    perturbation.save(path)
    save_picture(pictures.perturbation_picture(perturbation.delta), out / "uap.png")
    setting.say(f"The perturbation is in {path}, its picture in {out / 'uap.png'}")
    return path


def _once_for_each(recipe: Recipe, number: int) -> dict[str, Any]:
    """Return the losses that fool the victims after the first as the recipe fools that one."""
    fooling = recipe.table.get("losses", {}).get("fooling")
    if not fooling:
        raise GancoreError(f"{recipe.name} has no [losses.fooling] to repeat for each victim; craft by uap/gap or uap/direct.")
    labels = [victims.label_of(place) for place in range(1, number)]
    return {f"fooling{place}": merge(fooling, {"reads": {victims.LABEL: label}}) for place, label in enumerate(labels, start=2)}


def from_run(run: Run, names: Sequence[str]) -> Perturbation:
    """Return the perturbation that a crafting run trained, in whole levels of 8 bits.

    Args:
        run: The run.
        names: Its victims.

    Raises:
        GancoreError: The run trained no perturbation.
    """
    generator = run.generator()
    if not hasattr(generator, "perturbation"):
        raise GancoreError(f"{run.recipe.name} trains no perturbation; craft by a recipe such as uap/gap or uap/direct.")
    with torch.no_grad(), run.autocast():
        delta = generator.perturbation()[0].detach().float().cpu()
    labels = [victims.label_of(place) for place in range(len(names))]
    about = {
        "recipe": run.recipe.name,
        "digest": run.recipe.digest,
        "iterations": run.iteration,
        "seed": run.seed,
        "precision": run.precision,
        "data": run.recipe.parts["data", "data"].declared.full_name,
        "images": len(run.selection[1]),
        "victims": {name: fingerprint(run.networks[label]) for name, label in zip(names, labels, strict=True)},
    }
    levels = whole_levels(delta, generator.epsilon, generator.norm)
    return Perturbation(levels, generator.epsilon, generator.norm, about)
