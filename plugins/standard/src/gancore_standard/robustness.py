"""Robust accuracy: how often a trained classifier is still right when an attack perturbs the images within a budget."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import torch
from gancore_training import digest_of
from torch import Tensor, nn

from gancore import Attack, Classifier, Defense, GancoreError
from gancore.tools import (
    DISCRIMINATOR,
    as_images,
    check,
    did_you_mean,
    fingerprint,
    listed,
    load_split,
    noise_for,
    to_unit,
)
from gancore_standard.defenses import Classify, build_defense, defended, seen

if TYPE_CHECKING:
    from gancore.tools import Registry, Run

WHERE = "gancore attack"
"""Names the place for errors where no recipe does."""

PURPOSE = "defence"
"""Seeds the randomness of a defense, and so keeps its spelling: another would give other scores."""


@attrs.frozen
class Robustness:
    """What one attack did to one classifier.

    Attributes:
        natural: Accuracy on the images as they are.
        accuracy: Accuracy under the attack, by epsilon as text (so that it survives JSON).
        lipschitz: Local Lipschitz value: mean over the images of the Euclidean norm of the cross entropy's gradient.
        protocol: Everything that makes two values comparable, with an ``id``.
        seconds: How long it took.
    """

    natural: float
    accuracy: dict[str, float]
    lipschitz: float
    protocol: dict[str, Any]
    seconds: float


def classifiers(run: Run) -> list[str]:
    """Return the names of what can be attacked in a run: the classifiers and heads of classes that it trains.

    A frozen network is that of other runs too, so that their scores would be the same.
    """
    heads = run.heads if DISCRIMINATOR in run.plan.players else {}
    return [*(label for label, head in heads.items() if getattr(head, "gives_classes", False)), *trained_classifiers(run)]


def trained_classifiers(run: Run) -> list[str]:
    """Return the labels of the classifiers that a run trains."""
    return [label for label in run.plan.players if issubclass(run.plan.networks[label].cls, Classifier)]


def check_trained(run: Run, name: str | None, choices: Sequence[str]) -> None:
    """Refuse a score of a network that the run doesn't train, for the runs that share it would all get the same.

    Args:
        run: The run.
        name: The network, or a head of the discriminator; None for any of the choices.
        choices: What can be chosen.

    Raises:
        GancoreError: It is none of the choices, or there is none.
    """
    if name in choices or (name is None and choices):
        return
    recipe, frozen = run.recipe.name, [label for label in run.plan.networks if label not in run.plan.players]
    if not choices:
        aside = f" (it shares {listed(frozen)} with other runs)" if frozen else ""
        raise GancoreError(
            f"{recipe} trains {listed(run.plan.players)}, and no classifier or head with class logits to score{aside}; "
            "name a run that trains one."
        )
    if name in frozen:
        raise GancoreError(
            f"{recipe} does not train {name}, which it shares with other runs; choose of what it trains ({listed(choices)}), "
            f"or name the run that trained {name}."
        )
    raise GancoreError(f"{recipe} has no classifier {name!r}{did_you_mean(str(name), choices)} (it has: {listed(choices)}).")


@contextmanager
def classifier_of(run: Run, name: str | None) -> Iterator[tuple[str, Classify, list[nn.Module]]]:
    """Give a classifier that a run trains, in evaluation mode and without gradients of its own, and its modules.

    Args:
        run: The run.
        name: A network, or a head of the discriminator; None takes the first of `classifiers`.

    Raises:
        GancoreError: There is none of that name, or the run doesn't train it.
    """
    if not run.plan.info.classes:
        raise GancoreError(f"{run.recipe.name} has data with attributes, and an attack needs classes; choose other data.")
    known = classifiers(run)
    check_trained(run, name, known)
    chosen = known[0] if name is None else name
    modules = [run.networks[DISCRIMINATOR], run.heads[chosen]] if chosen in run.heads else [run.networks[chosen]]
    below = run.networks[run.plan.stands_on] if chosen in run.heads and run.plan.stands_on is not None else None
    modules += [] if below is None else [below]

    def classify(x: Tensor) -> Tensor:
        with run.autocast():
            if chosen in run.heads:
                seen = x if below is None else as_images(below.embed(x))
                logits = modules[1](modules[0](seen), torch.zeros(len(x), dtype=torch.int64, device=x.device))
            else:
                logits = modules[0](x)
        return torch.as_tensor(logits).float()

    modes = [module.training for module in modules]
    wanted = [(parameter, parameter.requires_grad) for module in modules for parameter in module.parameters()]
    for module in modules:
        module.eval().requires_grad_(False)
    try:
        yield chosen, classify, modules
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
        for parameter, want in wanted:
            parameter.requires_grad_(want)


def build_attack(
    registry: Registry,
    name: str,
    settings: Mapping[str, Any],
    context: Mapping[str, Any],
    epsilon: float,
    *,
    where: str = WHERE,
) -> Attack:
    """Return an attack of evaluation, with a budget.

    Args:
        registry: The installed plugins.
        name: Name of the attack component.
        settings: Its settings but for the budget.
        context: What core knows for constructors.
        epsilon: The budget, on the [-1, 1] scale of the images.
        where: Names the place for errors.

    Raises:
        GancoreError: There is no such attack, it needs the training that it is part of, or a setting is wrong.
    """
    declared = registry.component("attack", name, where=where)
    cls = registry.load(declared)
    where = f"{where} ({declared.full_name})"
    if cls.gradient == "shared":
        raise GancoreError(f"{where} lives in a training, from its gradients; evaluate with another, e.g. fastrobgan/pgd.")
    arguments = check(cls, {**settings, "epsilon": epsilon}, where=where, context=dict(context))
    try:
        attack: Attack = cls(**arguments)
    except GancoreError as error:
        raise GancoreError(f"{where}: {error}") from error
    return attack


def attack_batches(
    classify: Classify,
    batches: Iterable[tuple[Tensor, Tensor]],
    attacks: Mapping[str, Attack],
    seed: int,
    defense: Defense | None = None,
) -> tuple[float, dict[str, float], int]:
    """Return natural accuracy, accuracy under each attack, and the number of images.

    An image that is misclassified already stays so, and is left out of the attacks. Accuracy under an attack of epsilon 0 is
    the natural one. With a defense all are those of the classifier behind it, whatever the attacker sees.
    """
    total = 0
    natural = 0
    right = dict.fromkeys(attacks, 0)
    for number, (images, labels) in enumerate(batches):
        total += len(labels)
        with torch.no_grad():
            judge = defended(classify, defense, noise_for(images.device, seed, PURPOSE, number))
            correct = judge(images).argmax(1) == labels
        natural += int(correct.sum())
        images, labels = images[correct], labels[correct]
        if not len(labels):
            continue
        for name, attack in attacks.items():
            if getattr(attack, "epsilon", None) == 0:
                right[name] += len(labels)
                continue
            noise = noise_for(images.device, seed, "robustness", name, number)
            view = seen(classify, defense, noise_for(images.device, seed, PURPOSE, name, number))
            fooled = attack.fool(images, labels, view, noise)
            with torch.no_grad():
                judge = defended(classify, defense, noise_for(images.device, seed, PURPOSE, name, number, "judged"))
                right[name] += int((judge(fooled).argmax(1) == labels).sum())
    if not total:
        raise GancoreError("robust accuracy needs at least one image; raise --samples, or choose another split.")
    return natural / total, {name: count / total for name, count in right.items()}, total


def local_lipschitz(classify: Classify, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the mean of ||grad_x CE(classify(x), y)||_2 over all images (RobGAN, arXiv:1807.10454, section 3.1)."""
    total, number = 0.0, 0
    for images, labels in batches:
        leaf = images.detach().requires_grad_()
        loss = nn.functional.cross_entropy(classify(leaf), labels, reduction="sum")
        (grad,) = torch.autograd.grad(loss, leaf)
        total += torch.linalg.vector_norm(grad.flatten(1), dim=1).sum().item()
        number += len(labels)
    return total / max(1, number)


def robust_accuracy(
    run: Run,
    attack: str,
    epsilons: Sequence[float],
    *,
    settings: Mapping[str, Any] | None = None,
    classifier: str | None = None,
    samples: int = 1000,
    split: str = "test",
    batch_size: int = 250,
    seed: int = 0,
    defense: str | None = None,
    defense_settings: Mapping[str, Any] | None = None,
) -> Robustness:
    """Attack a classifier of a run on real images.

    Args:
        run: The run.
        attack: Name of the attack component.
        epsilons: Budgets, on the [-1, 1] scale of the images.
        settings: The attack's further settings.
        classifier: A classifier of the run, or a head of its discriminator with class logits; by default the first.
        samples: Number of images, drawn evenly from the split; all of them where there are fewer.
        split: Of the recipe's image set.
        batch_size: Images at a time.
        seed: Of the attack's random starts, and of a defense's randomness.
        defense: Name of a defense component that stands in front of the classifier.
        defense_settings: Its settings.

    Raises:
        GancoreError: There is no such classifier, attack, defense or split, or a setting is wrong.
    """
    started = time.perf_counter()
    settings = dict(settings or {})
    attacks = {
        f"{e:g}": build_attack(run.plan.registry, attack, settings, run.parts.context(), e).to(run.device) for e in epsilons
    }
    guard = None if defense is None else build_defense(run, defense, defense_settings or {}, where=WHERE)
    with classifier_of(run, classifier) as (chosen, classify, modules):
        batches = list(_batches(run, split, samples, batch_size))
        natural, accuracy, number = attack_batches(classify, batches, attacks, seed, guard)
        lipschitz = local_lipschitz(seen(classify, guard, noise_for(run.device, seed, PURPOSE, "lipschitz")), batches)
        weights = "+".join(fingerprint(module) for module in modules)
    protocol: dict[str, Any] = {
        "attack": run.plan.registry.component("attack", attack, where=WHERE).full_name,
        "settings": settings,
        "data": run.recipe.entries["data", "data"].declared.full_name,
        "split": split,
        "images": number,
        "seed": seed,
        "precision": run.precision,
    }
    if defense is not None and guard is not None:
        full_name = run.plan.registry.component("defense", defense, where=WHERE).full_name
        protocol["defense"] = {"use": full_name, "settings": dict(defense_settings or {}), "sees": guard.sees}
    protocol = {"id": digest_of(protocol, 8), **protocol, "classifier": chosen, "weights": weights}
    return Robustness(natural, accuracy, lipschitz, protocol, time.perf_counter() - started)


def _batches(run: Run, split: str, samples: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = load_split(run.plan.dataset, split)
    # Evenly over the split, whose order may be by class.
    chosen = torch.linspace(0, len(labels) - 1, min(samples, len(labels))).round().long()
    for indices in chosen.split(size):
        yield to_unit(images[indices].to(run.device)), labels[indices].to(run.device)
