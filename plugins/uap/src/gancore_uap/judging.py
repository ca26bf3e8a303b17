"""Perturbations judged on images of the target: tables, a transfer matrix, a sweep of budgets, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from gancore import GancoreError
from gancore.data import to_unit
from gancore.folder import write_text
from gancore.pictures import save_picture
from gancore_uap import pictures, scoring
from gancore_uap.budgets import apply_to_8bit
from gancore_uap.files import Perturbation, random_perturbation
from gancore_uap.pipeline import Setting
from gancore_uap.victims import Victim, open_victims

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
    """

    data: Mapping[str, Any]
    split: str = "test"
    samples: int = 10_000
    seed: int = 0
    wanted: int | None = None


@attrs.frozen
class Judgement:
    """What came out.

    Attributes:
        matrix: Row (a perturbation, or noise of the same budget) -> victim -> scores.
        curves: Fooling rate by budget, for each perturbation and victim; empty without further budgets.
    """

    matrix: dict[str, dict[str, scoring.Fooling]]
    curves: dict[str, dict[float, float]]


def judge(
    setting: Setting,
    perturbations: Mapping[str, Perturbation],
    out: Path,
    *,
    victim_specs: Sequence[str],
    target: Target,
    epsilons: Sequence[float] = (),
) -> Judgement:
    """Score perturbations, and write ``evaluation.json``, ``transfer.png``, ``examples.png`` and ``budgets.png``.

    Below the perturbations stands noise of the same budget: for l_inf every value up or down by all of it.

    Args:
        setting: Where to work.
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
    victims = open_victims(victim_specs, target.data, setting.registry, setting.device, setting.progress)
    dataset = next(iter(victims.values())).dataset
    images, labels = dataset.load(target.split)
    number = min(target.samples, len(labels))
    chosen = torch.arange(number) * len(labels) // number
    images, labels = images[chosen], labels[chosen]
    rows = {**perturbations, **_noise(perturbations, target.seed)}
    deltas = {name: one.delta for name, one in rows.items()}
    matrix = scoring.transfer_matrix(victims, deltas, images, labels, target=target.wanted, device=setting.device)
    curves: dict[str, dict[float, float]] = {}
    for name, one in perturbations.items() if epsilons else ():
        scaled = {f"{e:g}": one.scaled(e).delta for e in epsilons}
        found = scoring.transfer_matrix(victims, scaled, images, labels, device=setting.device)
        for victim in victims:
            curve = f"{name} on {victim}" if len(perturbations) > 1 else victim
            rates = {0.0: 0.0, one.epsilon: matrix[name][victim].fooling_rate}
            rates |= {e: found[f"{e:g}"][victim].fooling_rate for e in epsilons}
            curves[curve] = dict(sorted(rates.items()))
    out.mkdir(parents=True, exist_ok=True)
    result = {
        "protocol": {**attrs.asdict(target), "images": number, "images_as": "8 bit", "victims": _fingerprints(victims)},
        "perturbations": {
            name: {"epsilon": one.epsilon, "norm": one.norm, "digest": one.digest, "about": one.about}
            for name, one in rows.items()
        },
        "scores": {row: {victim: attrs.asdict(found) for victim, found in of.items()} for row, of in matrix.items()},
        "budgets": {name: {f"{e:g}": rate for e, rate in curve.items()} for name, curve in curves.items()},
    }
    write_text(out / "evaluation.json", json.dumps(result, indent=2) + "\n")
    save_picture(pictures.matrix_picture(matrix), out / "transfer.png")
    if curves:
        save_picture(pictures.sweep_picture(curves), out / "budgets.png")
    first = next(iter(perturbations.values()))
    shown = images[torch.arange(min(EXAMPLES, number)) * number // min(EXAMPLES, number)]
    picture = _examples(next(iter(victims.values())), shown, first.delta, dataset.info.class_names, setting.device)
    save_picture(picture, out / "examples.png")
    return Judgement(matrix, curves)


def _noise(perturbations: Mapping[str, Perturbation], seed: int) -> dict[str, Perturbation]:
    budgets = {(one.epsilon, one.norm): tuple(one.delta.shape) for one in perturbations.values()}
    return {
        f"noise, {norm} {epsilon * 255:.3g}/255": random_perturbation(shape, epsilon, norm, seed)
        for (epsilon, norm), shape in budgets.items()
    }


def _fingerprints(victims: Mapping[str, Victim]) -> dict[str, str]:
    return {name: victim.fingerprint for name, victim in victims.items()}


@torch.no_grad()
def _examples(victim: Victim, clean: Tensor, delta: Tensor, names: Sequence[str], device: torch.device) -> Any:
    perturbed = apply_to_8bit(clean, delta)

    def called(batch: Tensor) -> list[str]:
        decided = victim(to_unit(batch.to(device))).argmax(dim=1).tolist()
        return [names[k] if len(names) == victim.classes else f"class {k}" for k in decided]

    return pictures.examples_picture(clean, perturbed, called(clean), called(perturbed), delta)
