"""A composed recipe equals the loop written out in plain PyTorch, to the last bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from gancore.tools import Run
from tests.compose.hosts import run_of, steps

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "by_hand.py"

RECIPE = {
    "run": {"iterations": 8, "batch_size": 16, "latent_dim": 16, "precision": "float32", "seed": 0},
    "data": {"use": "standard/digits"},
    "samplers": {
        "long_tail": {"use": "standard/long-tail", "ratio": 20.0},
        "difference": {"use": "dsgan/difference", "alpha": 0.25, "wide": "normal", "scale": 0.1},
    },
    "sources": {"avoid": {}},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.25},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.25},
        "classifier": {"use": "probe/small-classifier"},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {
        "adversarial": {"use": "standard/relativistic"},
        "balance": {"use": "cbgan/class-balance", "weight": 10.0, "cycle": 3},
    },
    "attacks": {"free": {"use": "fastrobgan/free", "epsilon": 0.02}},
    "loop": {"use": "fastrobgan/free-replay", "replays": 2},
    "ema": {"decay": 0.9},
}


CONDITIONAL = {
    "latent": {"use": "standard/normal", "labels": "data"},
    "networks": {"generator": {"conditional": True}},
    "heads": {"adversarial": {"use": "standard/projection"}},
}


@pytest.fixture(scope="module")
def by_hand() -> ModuleType:
    spec = importlib.util.spec_from_file_location("by_hand", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("iterations", [1, 7])
def test_class_balance_free_replay_and_difference_seeking_compose_to_the_loop_by_hand(
    by_hand: ModuleType, iterations: int
) -> None:
    assert_the_same(by_hand.train(iterations), steps(run_of(base=RECIPE), iterations))


@pytest.mark.parametrize("iterations", [1, 7])
def test_with_labels_as_the_data_have_them_too(by_hand: ModuleType, iterations: int) -> None:
    expected = by_hand.train(iterations, conditional=True)
    assert_the_same(expected, steps(run_of(CONDITIONAL, base=RECIPE), iterations))
    uniform = steps(run_of(CONDITIONAL, {"latent": {"labels": "uniform"}}, base=RECIPE), iterations)
    assert not torch.equal(uniform.networks["generator"].linear.weight, expected["generator.linear.weight"])


def assert_the_same(expected: dict[str, Tensor], run: Run) -> None:
    assert run.average is not None
    assert run.attack is not None
    parts = {
        "generator": run.networks["generator"],
        "discriminator": run.networks["discriminator"],
        "head": run.heads["adversarial"],
        "ema": run.average.network,
    }
    got = {f"{name}.{key}": value for name, module in parts.items() for key, value in module.state_dict().items()}
    balance = dict(run.terms["balance"].named_buffers())
    got |= {"delta": run.attack.delta, "N": balance["effective_counts"], "c": balance["counts"], "w": balance["class_weights"]}
    assert got.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(got[name], expected[name])] == []
