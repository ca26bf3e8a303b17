"""Other ways to run an iteration: the accelerators that a recipe names in ``run.accelerate``."""

from __future__ import annotations

import functools
from collections.abc import Callable

from gancore.engine import Run
from gancore.errors import GancoreError
from gancore.recipe import said


def accelerate(run: Run, tell: Callable[[str, str], None]) -> Callable[[], None]:
    """Return what runs one iteration of a run: its own `step`, as each accelerator of its recipe changes it in turn.

    Args:
        run: The run, as restored as it is going to be.
        tell: Called with an accelerator's full name and what it says: ``on``, or ``off: `` and why; again where that changes.

    Raises:
        GancoreError: An accelerator fails, or returns nothing that can be called.
    """
    step: Callable[[], None] = run.step
    for name, accelerator in run.plan.accelerators:
        remedy = f"take {name} out of run.accelerate, or tell its author."
        try:
            step = accelerator(run, step, functools.partial(tell, name))
        except GancoreError:
            raise
        except Exception as error:
            raise GancoreError(f"the accelerator {name} raised {said(error)}; {remedy}") from error
        if not callable(step):
            raise GancoreError(f"the accelerator {name} returns {step!r}, which runs no iteration; {remedy}")
    return step
