"""Groups of images are sampled and scored."""

from __future__ import annotations

import torch
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample
from gancore_training.state import restore, tensors_of

from tests.engine.test_groups import GROUPS
from tests.hosts import run_of, same, steps


def test_a_game_of_groups_trains_resumes_samples_and_scores() -> None:
    table = {
        "losses": {"spread": {"use": "probe/spread"}},
        "metrics": {"doubled": {"use": "probe/doubled"}},
        "latent": {"use": "probe/mixture"},
        "evaluation": {"samples": 20, "batch_size": 8},
    }
    whole, first, second = (run_of(GROUPS, table) for _ in range(3))
    steps(whole, 4)
    steps(first, 2)
    restore(second, {name: value.detach().clone() for name, value in tensors_of(first).items()}, first.counters())
    assert same(whole, steps(second, 2)) == []
    images, labels = sample(whole, 8)
    assert images.shape == (8, 1, 8, 8)
    assert labels.tolist() == [label for label in labels[::3].tolist() for _ in range(3)][:8]
    assert torch.equal(images[3:6], whole.generate(whole.latent(3, "samples", 0))[1])
    scores = Evaluator(whole)()
    assert scores.values == {"doubled/rows": 60, "doubled/agree": 1.0}
    assert scores.protocols["doubled"]["samples"] == 60
