"""The grammar of tensor names: what the parameter of a component's method stands for in a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from gancore.contract import Classifier, Discriminator, Generator, LossTerm
from gancore.errors import GancoreError, did_you_mean
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Kind, Need, Plan
from gancore.recipe import Part

BATCH_NAMES = ("z", "real", "real_label", "fake_label")

SIDES = ("real", "fake")
"""Sides that the authors of terms name, and in whose place a recipe may have others read."""


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


def needs_of(cls: type[LossTerm], method: str, part: Part, plan: Plan, reads: Mapping[str, str]) -> tuple[Need, ...]:
    """Return what the parameters of a term's method stand for, or refuse one that nothing provides."""
    needs = []
    for name, required in parameters_of(getattr(cls, method)).items():
        need = resolve(name, plan, part.label, tuple(cls.extra_views), reads)
        if need is not None:
            needs.append(need)
        elif required:
            raise GancoreError(_missing(_read_as(name, reads), method, part, plan, cls))
    return tuple(needs)


def _read_side(name: str, reads: Mapping[str, str]) -> str:
    """Return the name with the side that is read in place of its own."""
    side, joint, what = name.partition("_")
    return f"{reads[side]}{joint}{what}" if side in SIDES and side in reads else name


def _read_as(name: str, reads: Mapping[str, str]) -> str:
    """Return the name that a parameter would have, had its author named what the recipe reads in its place."""
    side, _, what = _read_side(name, reads).partition("_")
    network = what.removesuffix("_features")
    return f"{side}_{reads[network]}{what.removeprefix(network)}" if network in reads else _read_side(name, reads)


def resolve(
    name: str, plan: Plan, term: str = "", extra_views: Iterable[str] = (), reads: Mapping[str, str] | None = None
) -> Need | None:
    """Return what a parameter's name stands for in this recipe, or None.

    Args:
        name: The parameter.
        plan: The recipe's plan, with everything but its terms.
        term: Label of the term that asks.
        extra_views: Views of its own.
        reads: Sides, networks and heads that the term names -> those to read in their place.
    """
    reads = reads or {}
    if (read := _read_side(name, reads)) != name:
        need = resolve(read, plan, term, extra_views, {label: other for label, other in reads.items() if label not in SIDES})
        return None if need is None else attrs.evolve(need, name=name)
    if name in ("noise", "iteration"):
        return Need(name, "noise" if name == "noise" else "iteration")
    if name in BATCH_NAMES and (name.startswith("real") or GENERATOR in plan.networks):
        return Need(name, "images", "real") if name == "real" else Need(name, "batch", label=name)
    if name in plan.codes:
        return Need(name, "batch", label=name)
    if name in plan.sides or name in plan.further:
        return Need(name, "images", name)
    for side in sorted(["real", *plan.sides, *plan.further, *extra_views], key=len, reverse=True):
        if not name.startswith(f"{side}_"):
            continue
        what = name.removeprefix(f"{side}_")
        owned = side in extra_views
        full = f"{term}:{side}" if owned else side
        if side in plan.further and what == "label":
            return Need(name, "label", full)
        if DISCRIMINATOR in plan.networks:
            if what in ("view", "features", "activations"):
                kinds: dict[str, Kind] = {"view": "view", "features": "features", "activations": "activations"}
                return Need(name, kinds[what], full)
            if reads.get(what, what) in plan.heads:
                return Need(name, "head", full, reads.get(what, what))
        plain = what.removesuffix("_features")
        network = reads.get(plain, plain)
        found = plan.networks.get(network)
        usable = found is not None and not owned and not issubclass(found.cls, Generator | Discriminator)
        if found is not None and usable and (what == plain or issubclass(found.cls, Classifier)):
            return Need(name, "embedding" if what != plain else "network", full, network)
    return None


def vocabulary(plan: Plan) -> list[str]:
    """Return every name that a part may ask for in this recipe."""
    names = ["iteration", "noise", "real", "real_label"]
    if GENERATOR in plan.networks:
        names += ["z", "fake_label", *plan.codes, *plan.sides]
    names += [name for label in plan.further for name in (label, f"{label}_label")]
    sides = ["real", *plan.sides, *plan.further]
    if DISCRIMINATOR in plan.networks:
        names += [f"{side}_{what}" for side in sides for what in ("view", "features", "activations", *plan.heads)]
    roles = Generator | Discriminator
    for label, network in plan.networks.items():
        if not issubclass(network.cls, roles):
            names += [f"{side}_{label}{suffix}" for side in sides for suffix in ("", "_features")]
    return [name for name in names if resolve(name, plan)]


def _missing(name: str, method: str, part: Part, plan: Plan, cls: type[LossTerm]) -> str:
    known = [*vocabulary(plan), *(f"{view}_{w}" for view in cls.extra_views for w in ("view", *plan.heads))]
    what = name.split("_", 1)[1] if name.startswith(("real_", "fake_", *cls.extra_views)) and "_" in name else ""
    remedy = f"add [heads.{what}] or [networks.{what}]" if what else "see `gancore explain` for the names it has"
    if "_" in name and not what:
        remedy = f"add a source of images, [sources.{name.split('_', 1)[0]}], if that is what it means, or {remedy}"
    if name.startswith("fake") and GENERATOR not in plan.networks:
        remedy = "it has no generator"
    hint = did_you_mean(name, known)
    return f"{part.where} asks for {name!r} in its {method}, which nothing in this recipe provides: {remedy}{hint}."
