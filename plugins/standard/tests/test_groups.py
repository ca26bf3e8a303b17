"""Groups of images of one label: who stands in them."""

from __future__ import annotations

import torch
from gancore_standard.samplers import SameLabel

from gancore.tools import noise_for


def test_one_that_is_alone_with_its_label_is_repeated_and_one_that_is_never_drawn_joins_nobody() -> None:
    labels = torch.tensor([5, 2, 5, 5, 9, 2])
    group = SameLabel(size=3).grouping(labels, None)
    rows = torch.cat([group(torch.arange(6), noise_for("cpu", seed)) for seed in range(50)]).view(50, 6, 3)
    assert (labels[rows] == labels[None, :, None]).all()
    assert (rows[:, 4] == 4).all()
    assert (rows[:, 0, 1:] != 0).all()
    assert set(rows[:, 0].flatten().tolist()) == {0, 2, 3}
    weighted = SameLabel(size=2).grouping(labels, torch.tensor([1.0, 1, 0, 1, 1, 1]))
    partners = torch.cat([weighted(torch.tensor([0, 3]), noise_for("cpu", seed)) for seed in range(50)])
    assert 2 not in partners
    rows_of_attributes = SameLabel().grouping(torch.tensor([[1, 0], [0, 1], [1, 0]]), None)
    assert rows_of_attributes(torch.tensor([0, 2]), noise_for("cpu", 0)).tolist() == [[0, 2], [2, 0]]
