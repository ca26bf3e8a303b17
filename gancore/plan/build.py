"""Building a component from its settings and what core knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gancore.contract import check
from gancore.errors import GancoreError
from gancore.plan.plan import AttackPlan, Built, HeadPlan, NetworkPlan, SamplerPlan, Term


def construct(built: Built | SamplerPlan | NetworkPlan | HeadPlan | AttackPlan | Term, context: Mapping[str, Any]) -> Any:
    """Build a component from its settings and what core knows.

    Raises:
        GancoreError: A setting is missing, or the constructor refuses its arguments.
    """
    arguments = check(built.cls, built.settings, where=built.part.where, context=context)
    try:
        return built.cls(**arguments)
    except GancoreError as error:
        raise GancoreError(f"{built.part.where}: {error}") from error
    except (ValueError, TypeError) as error:
        raise GancoreError(f"{built.part.where} can't be built: {error}") from error
