"""What a plan is refused for where a sample is a group of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gancore.contract import Sampler, Translator
from gancore.plan.plan import DISCRIMINATOR, Plan, Planned

OF_IMAGES = ("images", "view")
"""Kinds of needs that are images, and so groups of them."""


def of_groups(plan: Plan) -> Iterator[str]:
    """Yield what sees images and does not say that it takes groups of them, and what else can't be with groups."""
    drawing = [plan.samplers[label] for label, sampler in plan.acting.items() if sampler.group != 1]
    if not drawing:
        return
    if len(drawing) > 1 or plan.group < 1:
        yield f"{drawing[-1].where} can't make a sample of {plan.acting[drawing[-1].label].group} images beside other samplers."
    for component in _seeing(plan):
        if not getattr(component.cls, "groups", False) or issubclass(component.cls, Translator):
            yield (
                f"{component.where} takes one image a sample, and {drawing[0].where} draws {plan.group}; choose one that takes "
                "groups (its class says so), or leave the sampler out."
            )


def _seeing(plan: Plan) -> Iterator[Planned[Any, Any]]:
    """Yield the components that a turn gives images to."""
    needs = {label: [need for each in term.methods.values() for need in each] for label, term in plan.terms.items()}
    networks = {*plan.players, *plan.sides.values(), DISCRIMINATOR, plan.stands_on}
    networks |= {need.label for each in needs.values() for need in each if need.kind in ("network", "embedding")}
    yield from (planned for label, planned in plan.networks.items() if label in networks)
    for label, term in plan.terms.items():
        if term.cls.extra_views or any(need.kind in OF_IMAGES for need in needs[label]):
            yield term
    for label, sampler in plan.acting.items():
        if sampler.group == 1 and (type(sampler).draw is not Sampler.draw or type(sampler).view is not Sampler.view):
            yield plan.samplers[label]
    if plan.attack is not None:
        yield plan.attack
