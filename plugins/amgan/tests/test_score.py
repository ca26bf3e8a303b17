"""The AM score: parity with the authors' code, its extremes, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_amgan.score import AMScore
from scipy import stats
from torch import Tensor

from gancore import GancoreError

Load = Callable[[str], dict[str, Any]]


def scored(real: Tensor, fake: Tensor) -> dict[str, float]:
    metric = AMScore()
    metric.update_real(logits=real)
    metric.update(logits=fake)
    scores: dict[str, float] = metric.compute()
    return scores


def test_the_score_agrees_with_the_authors_code(parity: Load) -> None:
    vectors = parity("am_score")
    # The softmax of a probability's logarithm is the probability.
    scores = scored(torch.as_tensor(vectors["ref_preds"]).log(), torch.as_tensor(vectors["preds"]).log())
    assert scores["am_score"] == pytest.approx(float(vectors["am"]), rel=1e-9)
    assert scores["am_score_entropy"] == pytest.approx(float(vectors["am_per"]), rel=1e-9)
    assert scores["am_score_divergence"] == pytest.approx(float(vectors["am_avg"]), rel=1e-9)


def test_the_divergence_is_of_the_datas_classes_from_the_samples() -> None:
    """Eq. 27: KL(train, generated), which is not symmetric."""
    rng = np.random.default_rng(0)
    real, fake = rng.dirichlet([1, 2, 3], 50), rng.dirichlet([3, 1, 1], 40)
    scores = scored(torch.from_numpy(real).log(), torch.from_numpy(fake).log())
    assert scores["am_score_divergence"] == pytest.approx(stats.entropy(real.mean(0), fake.mean(0)), rel=1e-9)
    assert scores["am_score_entropy"] == pytest.approx(stats.entropy(fake, axis=1).mean(), rel=1e-9)


def test_sure_images_with_the_datas_classes_have_the_score_0_and_a_missing_class_costs_much() -> None:
    real = 100 * torch.eye(3)[[0, 0, 0, 1, 2, 2]]
    assert scored(real, 100 * torch.eye(3)[[2, 0, 1, 2, 0, 0]])["am_score"] == pytest.approx(0, abs=1e-9)
    assert scored(real, 100 * torch.eye(3)[[0, 0, 1]])["am_score_divergence"] > 1


def test_what_is_no_score_is_refused() -> None:
    metric = AMScore()
    metric.update(logits=torch.zeros(2, 3))
    with pytest.raises(GancoreError, match="needs real and generated images"):
        metric.compute()
    with pytest.raises(GancoreError, match="not finite"):
        scored(torch.zeros(2, 3), torch.full((2, 3), torch.nan))
    with pytest.raises(GancoreError, match="of one K"):
        scored(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(GancoreError, match="compute them anew"):
        metric.load_real_state({"mean": torch.zeros(3)})
