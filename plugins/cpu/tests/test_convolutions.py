"""The accelerator: on where the processor's way is known, told, recorded in the run, and the same wherever the run goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_cpu import convolutions, gancore_doctor, processor
from gancore_cpu.convolutions import NAME, accelerate_convolutions
from gancore_cpu.processor import Way, way_of_this_processor
from gancore_training import TrainingRun
from gancore_training.checkpoint import checkpoints
from gancore_training.trainer import train
from torch import Tensor

from gancore import GancoreError
from gancore.files import read_tensors
from tests.compose.hosts import CPU, plan_of, registry, run_of, same, steps

LOW: dict[str, Any] = {
    "run": {"precision": "bfloat16", "batch_size": 8, "iterations": 4, "checkpoint_every": 2, "accelerate": [NAME]},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator"},
        "discriminator": {"use": "standard/sndcgan-discriminator"},
    },
}
"""Two layers of D and one of G have 64 channels or more and rows of four pixels."""


@pytest.fixture
def on_a(monkeypatch: pytest.MonkeyPatch) -> Callable[[Way], None]:
    """Has the processor report what makes a way the better one."""

    def report(way: Way) -> None:
        monkeypatch.setattr(convolutions, "way_of_this_processor", lambda: way)

    return report


def accelerated(*tables: dict[str, Any], choices: dict[str, str] | None = None) -> tuple[TrainingRun, str]:
    """Return a run whose step is accelerated, and what was told."""
    run = run_of(LOW, *tables)
    run.choices = dict(choices or {})
    told: list[str] = []
    run.step = accelerate_convolutions(run, run.step, told.append)  # type: ignore[method-assign]
    assert len(told) == 1
    return run, told[0]


@pytest.mark.parametrize("way", ["fold", "product"])
@pytest.mark.parametrize(
    "terms",
    [{}, {"penalty": {"use": "standard/gradient-penalty"}}, {"penalty": {"use": "r3gan/penalty"}}],
    ids=["plain", "wgan-gp", "r1"],
)
def test_a_run_differs_by_rounding_and_has_a_plain_runs_first_losses(
    way: Way, terms: dict[str, Any], on_a: Callable[[Way], None]
) -> None:
    on_a(way)
    fast, told = accelerated({"losses": terms})
    plain = run_of(LOW, {"losses": terms})
    assert told.startswith(f"on ({way})")
    steps(plain, 1)
    steps(fast, 1)
    assert torch.equal(fast.losses["discriminator/adversarial"], plain.losses["discriminator/adversarial"])
    assert same(fast, plain) != []
    # After one step Adam's first moments are D's gradients; G's come after D has moved, by which signs of tiny ones may turn.
    moments = [name for name in plain.tensors() if re.fullmatch(r"optimizer\.discriminator/\d+\.exp_avg", name)]
    assert moments
    for name in moments:
        a, b = (run.tensors()[name].double() for run in (plain, fast))
        assert float((a - b).norm()) <= 1e-3 * float(a.norm()), name


def test_a_way_is_chosen_by_what_the_processor_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: dict[str, bool] = {}
    for question in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, question, lambda question=question: reported.get(question, False), raising=False)
    assert way_of_this_processor() == "off"
    reported["_is_avx512_bf16_supported"] = True
    assert way_of_this_processor() == "product"
    reported["_is_amx_tile_supported"] = True
    assert way_of_this_processor() == "fold"
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert way_of_this_processor() == "off"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert way_of_this_processor() == "off"


def test_the_doctor_tells_the_way_of_this_processor() -> None:
    assert [*gancore_doctor()] == [f"{NAME}, where run.accelerate names it: {processor.ABOUT[way_of_this_processor()]}"]


@pytest.mark.parametrize(
    ("table", "way", "reason"),
    [
        ({"run": {"precision": "float32"}}, "product", "off: float32 is computed as always"),
        ({}, "off", "off: the processor reports neither AMX nor AVX-512 with bfloat16"),
    ],
)
def test_off_changes_no_bit(table: dict[str, Any], way: Way, reason: str, on_a: Callable[[Way], None]) -> None:
    on_a(way)
    run, told = accelerated(table)
    assert told.startswith(reason)
    assert same(steps(run, 2), steps(run_of(LOW, table), 2)) == []


def test_a_run_on_a_gpu_is_left_alone() -> None:
    run = run_of(LOW)
    run.device = torch.device("cuda")
    told: list[str] = []
    assert accelerate_convolutions(run, run.step, told.append) == run.step
    assert told == ["off: the run is on CUDA"]


def test_a_torch_without_the_calls_goes_on_without_and_refuses_a_run_that_had_them(
    monkeypatch: pytest.MonkeyPatch, on_a: Callable[[Way], None]
) -> None:
    on_a("product")
    monkeypatch.delattr("gancore_cpu.override.registration.get_kernel", raising=False)
    run, told = accelerated()
    assert told.startswith("off: this torch has no get_kernel")
    assert run.choices == {NAME: "off"}
    with pytest.raises(GancoreError, match=re.escape(f"the run began with {NAME} (fold), and this torch has no")):
        accelerated(choices={NAME: "fold"})


def test_a_way_of_another_version_is_refused_and_never_replaced() -> None:
    with pytest.raises(GancoreError, match=re.escape(f"the run began with {NAME} (tiles), which this version")):
        accelerated(choices={NAME: "tiles"})


def trained(out: Path, *, resume: bool = False, **settings: Any) -> TrainingRun:
    table = {"run": {**LOW["run"], **settings}}
    return train(plan_of(LOW, table).recipe, registry(), out, device=CPU, resume=resume)


def status_in(out: Path) -> str:
    text: str = json.loads((out / "environment.json").read_text())["accelerators"][NAME]
    return text


def whole(run: TrainingRun) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.tensors().items()}


def test_a_run_keeps_its_way_on_another_processor_to_the_last_bit(tmp_path: Path, on_a: Callable[[Way], None]) -> None:
    on_a("product")
    expected = whole(trained(tmp_path / "whole"))
    trained(tmp_path / "run", iterations=2)
    assert read_tensors(checkpoints(tmp_path / "run")[-1])[1]["choices"] == {NAME: "product"}
    assert status_in(tmp_path / "run").startswith("on (product), for")
    for other in ("off", "fold"):
        on_a(other)
        for path in checkpoints(tmp_path / "run")[1:]:
            path.unlink()
        resumed = trained(tmp_path / "run", resume=True)
        assert status_in(tmp_path / "run") == "on (product), as when the run began"
        assert all(torch.equal(value, resumed.tensors()[name]) for name, value in expected.items())


def test_a_run_that_began_without_goes_on_without_until_that_is_asked_for(tmp_path: Path, on_a: Callable[[Way], None]) -> None:
    on_a("off")
    trained(tmp_path, iterations=2)
    on_a("product")
    trained(tmp_path, resume=True)
    assert status_in(tmp_path) == "off: as when the run began"
    # Taking it out of the recipe and naming it again begins anew, and the record tells of both.
    trained(tmp_path, resume=True, iterations=5, accelerate=[])
    assert read_tensors(checkpoints(tmp_path)[-1])[1]["choices"] == {}
    trained(tmp_path, resume=True, iterations=6)
    assert status_in(tmp_path).startswith("on (product), for")
    history = json.loads((tmp_path / "environment.json").read_text())["history"]
    assert [entry["changed"]["run.accelerate"] for entry in history if "run.accelerate" in entry["changed"]] == [
        [[NAME], []],
        [[], [NAME]],
    ]
