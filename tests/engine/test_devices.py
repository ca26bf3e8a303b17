"""Device, precision, and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gancore import GancoreError
from gancore.engine import devices
from gancore.engine.devices import _computes_bfloat16, choose_device, choose_precision


def test_auto_takes_what_is_here() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_has_its_number_as_the_devices_of_tensors_have(name: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch.device("cuda") equals no tensor's device, and images that are compared with it would be indexed from the host.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(name) == torch.device("cuda", index)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "is no device"), ("mps", "is not supported"), ("cuda:99", "finds none|does not exist"), ("", "is no device")],
)
def test_a_device_that_is_not_here_gets_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(GancoreError, match=sentence):
        choose_device(name)


@pytest.mark.parametrize(("flags", "has"), [("fma avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_the_processors_instructions_are_read(monkeypatch: pytest.MonkeyPatch, flags: str, has: bool) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _self, **_: f"flags : {flags}\n")
    assert _computes_bfloat16() == has


@pytest.mark.parametrize(
    ("has", "precision", "why"),
    [
        (True, "bfloat16", "the processor has instructions for it"),
        (False, "float32", "the processor has no instructions for bfloat16"),
    ],
)
def test_auto_precision_is_what_the_hardware_has_instructions_for(
    has: bool, precision: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "_computes_bfloat16", lambda: has)
    # No clock has a say, and nothing that an earlier run left.
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("the choice took a time"))
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == (precision, why)
    for setting in ("float32", "bfloat16"):
        assert choose_precision(setting, cpu) == (setting, "as the recipe says")
    assert not (tmp_path / "cache").exists()
