"""How the weight of the consistency begins."""

from __future__ import annotations

import math
from typing import Annotated

import gancore


def rise(*, iterations: Annotated[int, gancore.Range(1)]) -> gancore.Factor:
    """Rise to 1 along half of a Gaussian, exp(-5 (1 - t)^2) with t from 0 to 1 (Laine and Aila 2017, section 2.1).

    Args:
        iterations: Where 1 is reached; the length of the run unless set.
    """
    return lambda iteration: math.exp(-5 * (1 - min(1.0, iteration / iterations)) ** 2)
