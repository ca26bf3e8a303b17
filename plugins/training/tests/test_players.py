"""Scores say of which weights they are."""

from __future__ import annotations

from gancore_training.evaluate import Evaluator

from tests.engine.test_players import SEVERAL
from tests.hosts import run_of, steps


def test_scores_may_be_of_a_further_average() -> None:
    table = {
        "networks": {"classifier": {"use": "host/classifier"}},
        "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
        "evaluation": {"samples": 40},
    }
    scores = [
        Evaluator(steps(run_of(SEVERAL, table, {"evaluation": {"weights": name}}), 4))() for name in ("ema", "slow", "live")
    ]
    assert len({each.values["fid/fid"] for each in scores}) == 3
    assert [each.protocols["fid"]["weights"] for each in scores] == ["ema", "slow", "live"]
