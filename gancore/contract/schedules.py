"""What a schedule gives."""

from __future__ import annotations

from collections.abc import Callable

Factor = Callable[[int], float]
"""Maps an iteration, from 0, to what a number of the recipe is multiplied by.

A pure function of the iteration, so that nothing need be saved.
"""
