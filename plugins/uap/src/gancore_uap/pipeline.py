"""The stages from a classifier and an unrelated image set to a universal perturbation, each resumable (CBGAN A.7)."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch

from gancore import GancoreError
from gancore.tools import (
    Plan,
    Progress,
    Recipe,
    check_table,
    checkpoint,
    fingerprint,
    make_plan,
    merge,
    read,
    save_picture,
    settings_of,
    train,
    write_text,
)
from gancore_uap import pictures, proxy, victims
from gancore_uap.budgets import check_epsilon, whole_levels
from gancore_uap.files import Perturbation
from gancore_uap.losses import Fooling
from gancore_uap.perturbations import Perturbed

if TYPE_CHECKING:
    from gancore.tools import Registry, Run

BALANCE = "cbgan/class-balance"
RECORD = "made-from.json"
"""What a stage was made from beyond its recipe: files whose content may change under one name."""


@attrs.frozen
class Workbench:
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


@attrs.frozen
class Prior:
    """A prior GAN to train and to sample, checked.

    Attributes:
        recipe: What is trained.
        cycles: Iterations at the end of the cycles to sample.
        images: Images of each.
        form: How the images are kept.
        classes: Classes of the classifier in its loop, where its recipe says.
    """

    recipe: Recipe
    cycles: list[int]
    images: int
    form: Literal["safetensors", "png"]
    classes: int | None


def folder_for(out: Path) -> Path:
    """Return a folder, made where it is not there.

    Raises:
        GancoreError: It can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GancoreError(f"{out} can't be a folder of results: {error.strerror}; choose another --out.") from error
    return out


def plan_prior(
    workbench: Workbench,
    name: str,
    *,
    victim: str | None = None,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    cycles: int | None = None,
    images: int = 1024,
    form: Literal["safetensors", "png"] = "safetensors",
) -> Prior:
    """Return a prior to train, checked, before anything is trained or written.

    The class-balancing regularizer gets the classifier's classes, and the checkpoints' cycle where it has none of its own.

    Args:
        workbench: Where to work.
        name: The recipe of the prior GAN.
        victim: The classifier in the loop, in place of the recipe's.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.
        cycles: Cycles to sample from, the last ones; by default as many checkpoints as the recipe keeps.
        images: Images of each.
        form: How the images are kept.

    Raises:
        GancoreError: Anything wrong with the recipe, or it has fewer cycles, or no classifier.
    """
    kept = [] if cycles is None else [f"run.keep_checkpoints={cycles}"]
    recipe = read(name, workbench.registry, overlays=overlays, assignments=[*assignments, *kept])
    if victim is not None:
        recipe = _with_victims(recipe, [victim], workbench.registry)
    if victims.LABEL not in recipe.group("networks"):
        raise GancoreError(f"{recipe.name} has no [networks.{victims.LABEL}] in its loop; add one with --victim.")
    classes = _known_classes(make_plan(_without(recipe, workbench.registry), workbench.registry), victims.LABEL)
    table = copy.deepcopy(recipe.table)
    for label, term in recipe.group("losses").items():
        if term.declared.full_name == BALANCE:
            own = table["losses"][label]
            own.setdefault("cycle", max(1, recipe.run.checkpoint_every))
            if classes is not None and (victim is not None or "classes" not in own):
                own["classes"] = classes
    recipe = check_table(table, workbench.registry, name=recipe.name, layers=recipe.layers)
    make_plan(recipe, workbench.registry)
    return Prior(recipe, _cycles(recipe), images, form, classes)


def _without(recipe: Recipe, registry: Registry) -> Recipe:
    """Return a recipe without its balancing terms, whose settings are still to be found."""
    table = copy.deepcopy(recipe.table)
    for label, term in recipe.group("losses").items():
        if term.declared.full_name == BALANCE:
            del table["losses"][label]
    return check_table(table, registry, name=recipe.name, layers=recipe.layers)


def _with_victims(recipe: Recipe, specs: Sequence[str], registry: Registry) -> Recipe:
    """Return a recipe with victims in place of its own classifiers of their labels, of which nothing is left."""
    table = copy.deepcopy(recipe.table)
    networks = victims.networks_of(specs, registry)
    for label in networks:
        table.get("networks", {}).pop(label, None)
    return check_table(merge(table, {"networks": networks}), registry, name=recipe.name, layers=recipe.layers)


def _known_classes(plan: Plan, label: str) -> int | None:
    """Return a classifier's number of classes, or None where only the built network knows it."""
    network = plan.networks[label]
    if "classes" in network.settings:
        return int(network.settings["classes"])
    return plan.info.classes if "classes" in settings_of(network.cls) else None


def _cycles(recipe: Recipe) -> list[int]:
    run = recipe.run
    ends = [*range(run.checkpoint_every, run.iterations, run.checkpoint_every)] if run.checkpoint_every else []
    # The last iteration is a checkpoint too; without any other there is no cycle, but one long training.
    ends = [*ends, run.iterations] if run.checkpoint_every else []
    wanted = run.keep_checkpoints or len(ends)
    if not ends or wanted > len(ends):
        raise GancoreError(
            f"{recipe.name} has {len(ends)} of the {wanted or 1} cycles to be sampled (run.checkpoint_every = "
            f"{run.checkpoint_every}, run.iterations = {run.iterations}); set run.checkpoint_every to the length of a cycle, "
            "or lower --cycles."
        )
    return ends[-wanted:]


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
        "digest": recipe.digest,
        "classifier": recipe.group("networks")[victims.LABEL].declared.full_name,
        "weights": _weights(recipe),
        "sampled": [len(prior.cycles), prior.images, prior.form],
    }
    folder = folder_for(out / "proxy")
    if (folder / proxy.SUMMARY).is_file():
        summary = proxy.ProxySummary.read(folder)
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
    writer = proxy.Writer(
        folder,
        form=prior.form,
        channels=info.channels,
        image_size=info.image_size,
        classes=classifier.classes,
        about=about,
    )
    ends = [out / "gan" / "checkpoints" / f"{end:08d}.safetensors" for end in prior.cycles]
    summary = proxy.sample_cycles(run, ends, prior.images, classifier, writer, progress=workbench.progress.announce)
    _plot(summary, out / "classes.png")
    workbench.say(
        f"{summary.images} images of {len(summary.cycles)} cycles, of {summary.distinct_so_far[-1]} of "
        f"{classifier.classes} classes, are in {folder}; the classes by cycle in {out / 'classes.png'}"
    )
    return folder


def _plot(summary: proxy.ProxySummary, path: Path) -> None:
    each, so_far = summary.distinct, summary.distinct_so_far
    save_picture(pictures.classes_picture(summary.cycles, summary.classes, each=each, so_far=so_far), path)


def _train(workbench: Workbench, recipe: Recipe, folder: Path) -> Run:
    begun = (folder / "recipe.toml").exists()
    return train(recipe, workbench.registry, folder, device=workbench.device, resume=begun, progress=workbench.progress)


def _weights(recipe: Recipe) -> dict[str, str]:
    """Return a digest of each weights file that a recipe names."""
    digests = {}
    for label, table in sorted(recipe.table.get("networks", {}).items()):
        path = Path(str(table["weights"])).expanduser() if table.get("weights") else None
        # One that is missing is reported where it is loaded.
        if path is not None and path.is_file():
            digests[label] = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return digests


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _keep_record(folder: Path, made_from: Mapping[str, Any]) -> None:
    """Write down what a training is made from, beside its folder, or refuse to go on with one that was made from another."""
    path = folder_for(folder.parent) / f"{folder.name}-{RECORD}"
    if path.is_file() and checkpoint.checkpoints(folder):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise GancoreError(f"{path} is damaged ({error}); choose another --out.") from error
        if before != _plain(made_from):
            changed = [key for key in {**before, **made_from} if before.get(key) != _plain(made_from).get(key)]
            raise GancoreError(
                f"{folder} was trained from other files of the same names ({', '.join(changed)} changed since); "
                "choose another --out."
            )
        return
    try:
        write_text(path, json.dumps(made_from) + "\n")
    except OSError as error:
        raise GancoreError(f"{path} can't be written: {error.strerror}; choose another --out.") from error


def plan_crafting(
    workbench: Workbench,
    method: str,
    *,
    victim_specs: Sequence[str],
    data: Mapping[str, Any],
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> Recipe:
    """Return the recipe of a crafting, checked, before anything is trained or written.

    Args:
        workbench: Where to work.
        method: The recipe of the crafting, e.g. ``uap/gap``.
        victim_specs: The classifiers to fool, all at once.
        data: The ``[data]`` to craft on.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.

    Raises:
        GancoreError: Anything wrong with recipe, data or victims, or it trains no perturbation.
    """
    registry = workbench.registry
    names = victims.names_of(victim_specs)
    recipe = _with_victims(
        read(method, registry, overlays=overlays, assignments=assignments, overrides={"data": dict(data)}),
        victim_specs,
        registry,
    )
    if len(names) > 1:
        table = merge(recipe.table, {"losses": _once_for_each(recipe, len(names))})
        recipe = check_table(table, registry, name=recipe.name, layers=recipe.layers)
    plan = make_plan(recipe, registry)
    generator = plan.networks.get("generator")
    if generator is None or not issubclass(generator.cls, Perturbed):
        raise GancoreError(f"{recipe.name} trains no perturbation; craft by a recipe such as uap/gap or uap/direct.")
    budget = {key: generator.settings.get(key, settings_of(generator.cls)[key].default) for key in ("epsilon", "norm")}
    check_epsilon(budget["epsilon"], generator.part.where, budget["norm"])
    if plan.info.continuous:
        raise GancoreError(
            f"{recipe.name}: a perturbation is crafted on images of 8 bits, and the data are none; choose others."
        )
    for term in plan.terms.values():
        target = term.settings.get("target") if issubclass(term.cls, Fooling) else None
        classes = _known_classes(plan, term.keys.reads.get(victims.LABEL, victims.LABEL)) if target is not None else None
        if target is not None and classes is not None and target >= classes:
            raise GancoreError(f"{term.part.where}: there is no class {target}; the victim has the classes 0 to {classes - 1}.")
    return recipe


def _once_for_each(recipe: Recipe, number: int) -> dict[str, Any]:
    """Return the losses that fool the victims after the first as the recipe fools that one."""
    fooling = recipe.table.get("losses", {}).get("fooling")
    if not fooling:
        raise GancoreError(f"{recipe.name} has no [losses.fooling] to repeat for each victim; craft by uap/gap or uap/direct.")
    labels = [victims.label_of(place) for place in range(1, number)]
    return {f"fooling{place}": merge(fooling, {"reads": {victims.LABEL: label}}) for place, label in enumerate(labels, start=2)}


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
    made_from: dict[str, Any] = {"weights": _weights(recipe)}
    data = recipe.table["data"]
    if recipe.parts["data", "data"].declared.full_name == "uap/proxy":
        summary = Path(data["path"]) / proxy.SUMMARY
        made_from["proxy"] = hashlib.blake2b(summary.read_bytes(), digest_size=8).hexdigest()
    _keep_record(out / "crafting", made_from)
    run = _train(workbench, recipe, out / "crafting")
    perturbation = from_run(run, victims.names_of(victim_specs))
    if "proxy" in made_from:
        perturbation = attrs.evolve(perturbation, about={**perturbation.about, "proxy": made_from["proxy"]})
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
