"""The checked plan of a recipe, before any tensor exists."""

from __future__ import annotations

from gancore.plan.load import make_plan
from gancore.plan.optimizers import scheduled_numbers
from gancore.plan.phases import Forward, PhasePlan, plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Need, Plan, Planned
from gancore.plan.vocabulary import attacked_method, parameters_of

__all__ = [
    "DISCRIMINATOR",
    "GENERATOR",
    "Forward",
    "Need",
    "PhasePlan",
    "Plan",
    "Planned",
    "attacked_method",
    "make_plan",
    "parameters_of",
    "plan_phase",
    "scheduled_numbers",
]
