"""The grammar of tensor names: what the parameter of a component's method stands for in a recipe.

A name is that of the whole batch (``z``), of a side's images (``real``), or ``<side>_<what>``, where what is computed of these
images. `vocabulary` is all of it: every name that a recipe has, with what it stands for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from gancore.contract import Classifier, Discriminator, Generator
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Need, Plan, Seen, Term

SIDES = ("real", "fake")
"""Sides that the authors of terms name, and in whose place a recipe may have others read."""

SEEN: tuple[Seen, ...] = ("view", "features", "activations", "preactivations")
"""What the discriminator has of a side beside its heads."""

SCORED = ("images", "labels", "logits", "features")
"""What a metric may ask for of images; of generated ones also for ``z`` and codes."""

TURN = ("iteration", "player", "parameters")
"""Names of what is known of a turn."""

RESERVED = ("real", "fake", "noise", "z", *TURN)
"""Names that mean the same in every recipe."""


def parameters_of(method: Callable[..., Any]) -> dict[str, bool]:
    """Return a method's keyword-only parameters -> whether they are required."""
    return {
        p.name: p.default is inspect.Parameter.empty
        for p in inspect.signature(method).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def attacked_method(side: str) -> str:
    """Return the name of the method by which a loss term says what an attack on a side raises."""
    return "attacked" if side == "real" else f"attacked_{side}"


def extra_side(term: str, view: str) -> str:
    """Return the side of an extra view, which its term alone has."""
    return f"{term}:{view}"


def split(name: str) -> tuple[str, str]:
    """Return the side of a name, and the head or network that it names, or an empty text."""
    side, _, what = name.partition("_")
    return side, what.removesuffix("_features")


def vocabulary(plan: Plan, term: Term | None = None) -> dict[str, Need]:
    """Return every name that a component may ask for in this recipe -> what it stands for.

    Args:
        plan: The recipe's plan, with everything but its terms.
        term: The term that asks, with views of its own and sides, networks and heads that it has others read for.
    """
    reads = {} if term is None else term.keys.reads
    needs = [Need("noise", "noise"), *(Need(name, "batch", label=name) for name in TURN)]
    if GENERATOR in plan.networks:
        needs += [Need(code, "batch", label=code) for code in ("z", *plan.codes)]
    sides = _by_name(("real", *plan.sides, *plan.further), {name: side for name, side in reads.items() if name in SIDES})
    # The longer name of two sides is meant where both would do, so it comes last.
    for name in sorted(sides, key=len):
        needs += [*_of_images(plan, name, sides[name], reads), *_of_discriminator(plan, name, sides[name], reads)]
    if term is not None:
        for view in term.cls.extra_views:
            needs += _of_discriminator(plan, view, extra_side(term.label, view), reads)
    return {need.name: need for need in needs}


def _by_name(labels: Collection[str], reads: Mapping[str, str]) -> dict[str, str]:
    """Return the names by which a term reads some labels -> the labels."""
    names = dict.fromkeys((*labels, *reads))
    return {name: reads.get(name, name) for name in names if reads.get(name, name) in labels}


def _of_images(plan: Plan, name: str, side: str, reads: Mapping[str, str]) -> Iterator[Need]:
    """Yield what a recipe has of a side's images: themselves, their labels, and what networks compute of them."""
    yield Need(name, "images", side)
    if side in SIDES:
        yield Need(f"{name}_label", "batch", label=f"{side}_label")
    elif side in plan.further:
        yield Need(f"{name}_label", "label", side)
    for network, label in _by_name(plan.networks, reads).items():
        if not issubclass(plan.networks[label].cls, Generator | Discriminator):
            yield Need(f"{name}_{network}", "network", side, label)
        if issubclass(plan.networks[label].cls, Classifier):
            yield Need(f"{name}_{network}_features", "embedding", side, label)


def _of_discriminator(plan: Plan, name: str, side: str, reads: Mapping[str, str]) -> Iterator[Need]:
    """Yield what the discriminator, where there is one, has of a side's view."""
    if DISCRIMINATOR in plan.networks:
        for head, label in _by_name(plan.heads, reads).items():
            yield Need(f"{name}_{head}", "head", side, label)
        for what in SEEN:
            yield Need(f"{name}_{what}", what, side)
        for read, label in reads.items():
            for what in SEEN:
                if what == label or (what, label) == ("features", DISCRIMINATOR):
                    yield Need(f"{name}_{read}", what, side)
            if label in (*plan.heads, DISCRIMINATOR):
                yield Need(f"{name}_{read}_features", "features", side)
