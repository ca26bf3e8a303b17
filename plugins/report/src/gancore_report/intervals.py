"""Intervals of a mean, from few values. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gancore_report.scores import mean_and_deviation

QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t distribution with 1, 2, ... degrees of freedom."""


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean, and half the width of its 95 % interval, t s / sqrt(n), which one value has none of."""
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return mean, None
    # Beyond the table the next quantile above is taken, which makes the interval wider by at most 4 %.
    quantile = QUANTILES[min(len(values) - 1, len(QUANTILES)) - 1]
    return mean, quantile * deviation / math.sqrt(len(values))
