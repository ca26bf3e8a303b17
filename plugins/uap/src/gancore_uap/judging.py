"""Perturbations judged on images of the target: tables, a transfer matrix, a sweep of budgets, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from gancore_standard.tools import save_picture
from torch import Tensor

from gancore import GancoreError
from gancore.tools import load_split, make_plan, to_unit, write_text
from gancore_uap import pictures, plots, scoring, tables
from gancore_uap.budgets import apply_to_8bit, check_epsilon
from gancore_uap.perturbation_files import Perturbation, random_perturbation
from gancore_uap.victims import Victim, names_of, open_victims, victim_recipe
from gancore_uap.workbench import Workbench, folder_for

EXAMPLES = 8


@attrs.frozen
class Target:
    """What perturbations are judged on.

    Attributes:
        data: The ``[data]`` that gives the images.
        split: Of these data.
        samples: Images, evenly over the split; all of them where there are fewer.
        seed: Of the noise of equal budget.
        wanted: The class of targeted success, if any.
        foreign: Whether its classes are not the victims'; then there is a fooling rate, and no accuracy.
    """

    data: Mapping[str, Any]
    split: str = "test"
    samples: int = 10_000
    seed: int = 0
    wanted: int | None = None
    foreign: bool = False


@attrs.frozen
class Judgment:
    """What came out.

    Attributes:
        matrix: Row (a perturbation, or noise of the same budget) -> victim -> scores.
        curves: Fooling rate by budget, for each perturbation and victim; empty without further budgets.
    """

    matrix: dict[str, dict[str, scoring.Fooling]]
    curves: dict[str, dict[float, float]]


def judge(
    workbench: Workbench,
    perturbations: Mapping[str, Perturbation],
    out: Path,
    *,
    victim_specs: Sequence[str],
    target: Target,
    epsilons: Sequence[float] = (),
) -> Judgment:
    """Score perturbations, and write ``evaluation.json`` and ``.md``, ``transfer.png``, ``examples.png``, ``budgets.png``.

    Below the perturbations stands noise of the same budget: for l_inf every value up or down by all of it.

    Args:
        workbench: Where to work.
        perturbations: By name.
        out: Folder for the results.
        victim_specs: The classifiers to test on.
        target: The images.
        epsilons: Further budgets, to which the perturbations are scaled; ``budgets.png`` only with some.

    Raises:
        GancoreError: Anything wrong with perturbations, victims or data.
    """
    if not perturbations:
        raise GancoreError("there is no perturbation to judge; name one or more files of `gancore uap craft`.")
    check_target(workbench, victim_specs, target, epsilons)
    scaled = {name: {e: one.scaled(e).delta for e in sorted(epsilons)} for name, one in perturbations.items()}
    folder_for(out)
    victims = open_victims(victim_specs, target.data, workbench.registry, workbench.device, workbench.progress)
    dataset = next(iter(victims.values())).dataset
    for victim in victims.values():
        _check_classes(victim, dataset.info.classes, target)
    images, labels = load_split(dataset, target.split)
    number = min(target.samples, len(labels))
    chosen = torch.arange(number) * len(labels) // number
    images = images[chosen]
    labels = torch.zeros(number, dtype=torch.int64) if target.foreign else labels[chosen]
    rows = {**perturbations, **_noise(perturbations, target.seed)}
    deltas = {name: one.delta for name, one in rows.items()}
    matrix = scoring.transfer_matrix(victims, deltas, images, labels, target=target.wanted, device=workbench.device)
    curves: dict[str, dict[float, float]] = {}
    for name, one in perturbations.items() if epsilons else ():
        deltas = {repr(e): delta for e, delta in scaled[name].items()}
        for called, victim in victims.items():
            by_budget = scoring.sweep(victim, deltas, images, labels, device=workbench.device)
            curve = f"{name} on {called}" if len(perturbations) > 1 else called
            rates = {0.0: 0.0, one.epsilon: matrix[name][called].fooling_rate}
            rates |= {e: by_budget[repr(e)].fooling_rate for e in scaled[name]}
            curves[curve] = dict(sorted(rates.items()))
    unknown = {"accuracy": None, "perturbed_accuracy": None} if target.foreign else {}
    scores = {row: {victim: {**attrs.asdict(one), **unknown} for victim, one in of.items()} for row, of in matrix.items()}
    result = {
        "protocol": {**attrs.asdict(target), "images": number, "images_as": "8 bit", "victims": _fingerprints(victims)},
        "perturbations": {
            name: {"epsilon": one.epsilon, "norm": one.norm, "digest": one.digest, "about": one.about}
            for name, one in rows.items()
        },
        "scores": scores,
        "budgets": {name: {repr(e): rate for e, rate in curve.items()} for name, curve in curves.items()},
    }
    write_text(out / "evaluation.json", json.dumps(result, indent=2) + "\n")
    write_text(out / "evaluation.md", tables.markdown(matrix))
    save_picture(pictures.matrix_picture(matrix), out / "transfer.png")
    if curves:
        save_picture(plots.sweep_picture(curves), out / "budgets.png")
    first = next(iter(perturbations.values()))
    shown = images[torch.arange(min(EXAMPLES, number)) * number // min(EXAMPLES, number)]
    picture = _examples(next(iter(victims.values())), shown, first.delta, dataset.info.class_names, workbench.device)
    save_picture(picture, out / "examples.png")
    return Judgment(matrix, curves)


def check_target(workbench: Workbench, victim_specs: Sequence[str], target: Target, epsilons: Sequence[float]) -> None:
    """Refuse what can be seen to be wrong before anything is trained or read.

    Raises:
        GancoreError: Anything wrong with the data's settings, the victims, a class or a budget.
    """
    for epsilon in epsilons:
        check_epsilon(epsilon, "--epsilon", "l2")
    names_of(victim_specs)
    for spec in victim_specs:
        plan = make_plan(victim_recipe(spec, target.data, workbench.registry), workbench.registry)
        if plan.info.continuous:
            raise GancoreError(f"{target.data['use']} holds no images of 8 bits; choose a target that does.")
        if target.wanted is not None and not target.foreign and target.wanted >= plan.info.classes:
            raise GancoreError(
                f"there is no class {target.wanted} to aim at: the target has the classes 0 to {plan.info.classes - 1}."
            )


def _check_classes(victim: Victim, classes: int, target: Target) -> None:
    if victim.classes != classes and not target.foreign:
        raise GancoreError(
            f"the victim {victim.name} knows {victim.classes} classes, and the target has {classes}; choose a victim of the "
            "target's classes, or give --other-classes to count changed predictions alone."
        )
    if target.wanted is not None and target.wanted >= victim.classes:
        raise GancoreError(
            f"the victim {victim.name} has no class {target.wanted} to aim at; its classes are 0 to {victim.classes - 1}."
        )


def _noise(perturbations: Mapping[str, Perturbation], seed: int) -> dict[str, Perturbation]:
    budgets = {(one.epsilon, one.norm): tuple(one.delta.shape) for one in perturbations.values()}
    rows = {}
    for (epsilon, norm), shape in budgets.items():
        name = f"noise, {norm} {epsilon * 255:.3g}/255"
        # Budgets that look alike when rounded keep rows of their own.
        name = f"noise, {norm} {epsilon!r}" if name in rows else name
        rows[name] = random_perturbation(shape, epsilon, norm, seed)
    return rows


def _fingerprints(victims: Mapping[str, Victim]) -> dict[str, str]:
    return {name: victim.fingerprint for name, victim in victims.items()}


@torch.no_grad()
def _examples(victim: Victim, clean: Tensor, delta: Tensor, names: Sequence[str], device: torch.device) -> Any:
    perturbed = apply_to_8bit(clean, delta)

    def called(batch: Tensor) -> list[str]:
        decided = victim(to_unit(batch.to(device))).argmax(dim=1).tolist()
        return [names[k] if len(names) == victim.classes else f"class {k}" for k in decided]

    return pictures.examples_picture(clean, perturbed, called(clean), called(perturbed), delta)
