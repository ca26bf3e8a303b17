"""The checked plan of a recipe, before any tensor exists."""

from __future__ import annotations

from gancore.plan.load import make_plan
from gancore.plan.optimizers import scheduled_numbers
from gancore.plan.phases import Forward, PhasePlan, plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Built, HeadPlan, Need, NetworkPlan, Plan, construct
from gancore.plan.vocabulary import attacked_method, parameters_of

__all__ = [
    "DISCRIMINATOR",
    "GENERATOR",
    "Built",
    "Forward",
    "HeadPlan",
    "Need",
    "NetworkPlan",
    "PhasePlan",
    "Plan",
    "attacked_method",
    "construct",
    "make_plan",
    "parameters_of",
    "plan_phase",
    "scheduled_numbers",
]
