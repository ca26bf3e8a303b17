"""A classifier of `gancore_standard` for recipes that train none."""

from __future__ import annotations

from gancore_standard.networks.small_cnn import SmallCNN


class SmallClassifier(SmallCNN):
    """A small CNN that may be frozen as it is initialized."""

    frozen_needs_weights = False
