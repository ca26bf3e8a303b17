"""The grammar of tensor names: what the parameter of a component's method stands for in a recipe.

A name is that of the whole batch (``z``), of a side's images (``real``), or ``<side>_<what>``, where what is computed of these
images. `vocabulary` is all of it: every name that a recipe has, with what it stands for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gancore.contract import Classifier, Discriminator, Generator
from gancore.errors import GancoreError, did_you_mean
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Kind, Need, Plan, Planned

SIDES = ("real", "fake")
"""Sides that the authors of terms name, and in whose place a recipe may have others read."""

SEEN: tuple[Kind, ...] = ("view", "features", "activations")
"""What the discriminator has of a side beside its heads."""

RESERVED = ("real", "fake", "noise", "iteration", "z")
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


def vocabulary(
    plan: Plan, term: str = "", views: Iterable[str] = (), reads: Mapping[str, str] | None = None
) -> dict[str, Need]:
    """Return every name that a component may ask for in this recipe -> what it stands for.

    Args:
        plan: The recipe's plan, with everything but its terms.
        term: Label of the term that asks.
        views: Its extra views.
        reads: Sides, networks and heads that it names -> those to read in their place.
    """
    reads = reads or {}
    names: dict[str, Need] = {}

    def add(name: str, kind: Kind, side: str = "", label: str = "") -> None:
        names[name] = Need(name, kind, side, label)

    def renamed(labels: Iterable[str]) -> dict[str, str]:
        """Return the names by which the term reads some labels -> the labels."""
        labels = list(labels)
        read = {name: reads.get(name, name) for name in dict.fromkeys((*labels, *reads))}
        return {name: label for name, label in read.items() if label in labels}

    def add_seen(name: str, side: str) -> None:
        if DISCRIMINATOR in plan.networks:
            for head, label in renamed(plan.heads).items():
                add(f"{name}_{head}", "head", side, label)
            for what in SEEN:
                add(f"{name}_{what}", what, side)

    add("noise", "noise")
    add("iteration", "iteration")
    for code in ("z", *plan.codes) if GENERATOR in plan.networks else ():
        add(code, "batch", label=code)
    standing = {label: planned.cls for label, planned in plan.networks.items()}
    standing = {label: cls for label, cls in standing.items() if not issubclass(cls, Generator | Discriminator)}
    sides = {
        name: side for name, side in renamed(("real", *plan.sides, *plan.further)).items() if name == side or name in SIDES
    }
    # The longer name of two sides is meant where both would do, so it comes last.
    for name, side in sorted(sides.items(), key=lambda item: len(item[0])):
        add(name, "images", side)
        if side in SIDES:
            add(f"{name}_label", "batch", label=f"{side}_label")
        elif side in plan.further:
            add(f"{name}_label", "label", side)
        for network, label in renamed(standing).items():
            add(f"{name}_{network}", "network", side, label)
            if issubclass(standing[label], Classifier):
                add(f"{name}_{network}_features", "embedding", side, label)
        add_seen(name, side)
    for view in views:
        add_seen(view, extra_side(term, view))
    return names


def needs_of(planned: Planned[Any, Any], method: str, names: Mapping[str, Need], plan: Plan) -> tuple[Need, ...]:
    """Return what the parameters of a term's method stand for, or refuse one that nothing provides.

    Args:
        planned: The term.
        method: Name of the method.
        names: The term's vocabulary.
        plan: The recipe's plan.
    """
    parameters = parameters_of(getattr(planned.cls, method))
    for name, required in parameters.items():
        if required and name not in names:
            read = _as_read(name, planned.keys.reads)
            remedy = _remedy(read, planned, plan) + did_you_mean(read, names)
            raise GancoreError(
                f"{planned.where} asks for {read!r} in its {method}, which nothing in this recipe provides: {remedy}."
            )
    return tuple(names[name] for name in parameters if name in names)


def _as_read(name: str, reads: Mapping[str, str]) -> str:
    """Return a name with what the recipe reads in place of what the author named."""
    side, what = split(name)
    suffix = name.removeprefix(side).removeprefix(f"_{what}")
    read = reads.get(side, side) if side in SIDES else side
    return f"{read}_{reads.get(what, what)}{suffix}" if what else f"{read}{suffix}"


def _remedy(name: str, planned: Planned[Any, Any], plan: Plan) -> str:
    side, _, what = name.partition("_")
    remedy = f"add [heads.{what}] or [networks.{what}]"
    if side not in (*SIDES, *planned.cls.extra_views) or not what:
        remedy = "see `gancore explain` for the names it has"
        if what:
            remedy = f"add a source of images, [sources.{side}], if that is what it means, or {remedy}"
    return "it has no generator" if name.startswith("fake") and GENERATOR not in plan.networks else remedy
