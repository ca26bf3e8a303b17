"""Victims: the classifiers that a perturbation is crafted on, or tested on, by the name of a recipe, a file or a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from gancore_training import Progress, build
from torch import Tensor, nn

from gancore import Classifier, Dataset, GancoreError
from gancore.tools import Recipe, check_table, fingerprint, listed, make_plan, read_layer, settings_of, toml

if TYPE_CHECKING:
    from gancore.tools import Registry

LABEL = "classifier"
"""The recipe label of a victim; those after the first have a number: ``classifier2``."""


@attrs.frozen
class Victim:
    """A classifier ready to be asked.

    Attributes:
        name: What it is called in tables.
        network: The frozen network, in eval mode, on images in [-1, 1].
        classes: Number of classes K.
        fingerprint: Changes when any weight does.
        dataset: The image set that it was opened for.
    """

    name: str
    network: nn.Module
    classes: int
    fingerprint: str
    dataset: Dataset

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to logits (N, K) float32."""
        logits: Tensor = self.network(images)
        return logits.float()


def names_of(specs: Sequence[str]) -> list[str]:
    """Return what victims are called: the last part of the recipe's or folder's name, or all of it where two would be alike.

    Raises:
        GancoreError: One is named twice.
    """
    for spec in specs:
        if list(specs).count(spec) > 1:
            raise GancoreError(f"the victim {spec} is named twice; name each once.")
    short = [re.sub(r"\.toml$", "", Path(spec).name) for spec in specs]
    return [name if short.count(name) == 1 else spec for spec, name in zip(specs, short, strict=True)]


def label_of(place: int) -> str:
    """Return the recipe label of the victim at a place, from 0."""
    return LABEL if place == 0 else f"{LABEL}{place + 1}"


def network_table(spec: str, registry: Registry) -> dict[str, Any]:
    """Return the ``[networks.classifier]`` of a victim.

    Args:
        spec: The folder of a run, or the name or TOML file of a recipe that has a ``[networks.classifier]``.
        registry: The installed plugins.

    Raises:
        GancoreError: There is no such run or recipe, or it has no classifier.
    """
    folder = Path(spec)
    if folder.is_dir():
        return _of_run(folder, registry)
    table = read_layer(spec, registry).table
    network = table.get("networks", {}).get(LABEL)
    if not isinstance(network, Mapping):
        raise GancoreError(f"the victim {spec} has no [networks.{LABEL}]; name a recipe or a run with a classifier.")
    return dict(network)


def _of_run(folder: Path, registry: Registry) -> dict[str, Any]:
    if not (folder / "recipe.toml").is_file():
        raise GancoreError(f"the victim {folder} holds no run (there is no recipe.toml in it); name a run of `gancore train`.")
    table = toml.read(folder / "recipe.toml")
    plan = make_plan(check_table(table, registry, name=str(folder / "recipe.toml")), registry)
    trained = [label for label in plan.players if issubclass(plan.networks[label].cls, Classifier)]
    if not trained:
        raise GancoreError(
            f"the victim {folder} trained {listed(plan.players)} and no classifier; name the run of a classifier."
        )
    label = trained[0]
    weights = folder / "weights" / f"{label}.safetensors"
    if not weights.is_file():
        raise GancoreError(f"the victim {folder} is not finished; train it to the end with `gancore train ... --resume`.")
    known = {key: plan.context[key] for key in ("classes", "channels", "image_size")}
    # What core would take from the data of another recipe is that of the victim's own.
    own = {key: value for key, value in known.items() if key in settings_of(plan.networks[label].cls)}
    return {**own, **table["networks"][label], "weights": str(weights.resolve())}


def networks_of(specs: Sequence[str], registry: Registry) -> dict[str, Any]:
    """Return the ``[networks]`` of some victims, by recipe label."""
    return {label_of(place): network_table(spec, registry) for place, spec in enumerate(specs)}


def victim_recipe(spec: str, data: Mapping[str, Any], registry: Registry) -> Recipe:
    """Return a recipe of nothing but a victim and the data that it classifies.

    Raises:
        GancoreError: There is no such victim or data.
    """
    table = {
        "run": {"latent_dim": 1, "precision": "float32"},
        "data": dict(data),
        "networks": {"generator": {"use": "uap/direct"}, LABEL: network_table(spec, registry)},
        "losses": {"fooling": {"use": "uap/fooling"}},
        "loop": {"use": "uap/crafting"},
    }
    return check_table(table, registry, name=spec)


def open_victims(
    specs: Sequence[str], data: Mapping[str, Any], registry: Registry, device: torch.device, progress: Progress
) -> dict[str, Victim]:
    """Return victims by name, for images of some data, trained first where a recipe says how and no weights are there yet.

    Args:
        specs: As for `network_table`.
        data: The ``[data]`` whose images they classify; no image is read.
        registry: The installed plugins.
        device: Where they compute.
        progress: Told what is trained.

    Raises:
        GancoreError: There is no such victim, its weights are missing or do not fit, it does not take such images, or one is
            named twice.
    """
    victims = {}
    for spec, name in zip(specs, names_of(specs), strict=True):
        run = build(victim_recipe(spec, data, registry), registry, device, progress)
        network = run.networks[LABEL]
        victims[name] = Victim(name, network, network.classes, fingerprint(network), run.plan.dataset)
    return victims
