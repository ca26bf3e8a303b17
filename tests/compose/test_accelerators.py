"""Accelerators one after the other: recorded operators are called again with gradients computed as they were recorded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_cpu import convolutions
from gancore_cpu.override import can_override
from gancore_training import TrainingRun
from gancore_training.trainer import accelerate

from tests.compose.hosts import CPU, plan_of, same

LOW: dict[str, Any] = {
    "run": {"precision": "bfloat16", "batch_size": 4},
    "networks": {role: {"use": f"standard/sndcgan-{role}"} for role in ("generator", "discriminator")},
}


def trained(*names: str, losses: dict[str, Any]) -> tuple[TrainingRun, dict[str, str]]:
    """Return a run after eight iterations as accelerators run them, and what those say in the end."""
    run = TrainingRun(plan_of(LOW, {"run": {"accelerate": [*names]}, "losses": losses}), CPU)
    told: dict[str, str] = {}
    step = accelerate(run, told.__setitem__)
    for _ in range(8):
        step()
    return run, told


@pytest.mark.skipif(not can_override(), reason="this torch has no get_kernel")
@pytest.mark.parametrize("losses", [{}, {"penalty": {"use": "r3gan/penalty"}}], ids=["plain", "r1"])
def test_recorded_operators_keep_the_way_of_convolutions(losses: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "way_of_this_processor", lambda: "product")
    plain, _ = trained(losses=losses)
    alone, _ = trained("cpu/convolutions", losses=losses)
    both, told = trained("profile/cpu-graphs", "cpu/convolutions", losses=losses)
    assert told["profile/cpu-graphs"] == "on"
    assert same(alone, both) == []
    assert any(not torch.equal(value, plain.tensors()[name]) for name, value in both.tensors().items())
    _, backwards = trained("cpu/convolutions", "profile/cpu-graphs", losses=losses)
    assert backwards["profile/cpu-graphs"].startswith("off: an accelerator before it")
