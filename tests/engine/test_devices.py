"""Device, precision, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gancore import GancoreError
from gancore.engine import devices
from gancore.engine.devices import Precision, _computes_bfloat16, _measured_gain, choose_device, choose_precision


def test_auto_takes_what_is_here() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


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
    ("has", "gain", "precision", "why"),
    [
        (True, 1.75, "bfloat16", "convolutions are 1.8 times as fast as in float32 here"),
        (True, 1.04, "float32", "convolutions in bfloat16 are only 1.04 times as fast here"),
        (False, 9.0, "float32", "the processor has no instructions for bfloat16"),
    ],
)
def test_auto_precision_takes_what_is_faster_here_and_keeps_to_it(
    has: bool, gain: float, precision: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "_computes_bfloat16", lambda: has)
    gains = iter([gain, 0.5, 5.0])
    monkeypatch.setattr(devices, "_measured_gain", lambda _: next(gains))
    cpu = torch.device("cpu")
    for _ in range(3):
        assert choose_precision("auto", cpu) == Precision(precision, why)
    for setting in ("float32", "bfloat16"):
        assert choose_precision(setting, cpu) == Precision(setting, "as the recipe says")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"another machine": 3.0}'])
def test_a_kept_gain_that_is_damaged_or_of_another_machine_is_measured_anew(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path))
    (tmp_path / "precision.json").write_text(content)
    monkeypatch.setattr(devices, "_computes_bfloat16", lambda: True)
    monkeypatch.setattr(devices, "_measured_gain", lambda _: 2.0)
    assert choose_precision("auto", torch.device("cpu")).name == "bfloat16"


def test_the_gain_is_a_ratio_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: iter([9.0, 3.0, 4.0, 9.0, 9.0, 9.0]), torch.bfloat16: iter([8.0, 7.0, 1.5, 9.0, 9.0, 9.0])}
    monkeypatch.setattr(devices, "_convolution_seconds", lambda _, dtype: next(seconds[dtype]))
    assert _measured_gain(torch.device("cpu")) == 2.0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_freed_memory_is_kept_unless_the_user_says_otherwise() -> None:
    code = (
        "import resource, torch\n"
        "from gancore.engine.allocator import keep_freed_memory\n"
        "kept = keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): torch.ones(1 << 22)\n"
        "before = faults()\n"
        "for _ in range(40): torch.ones(1 << 22)\n"
        # A pass over 16 MiB is 4096 pages, and there are 40; the heap may settle over the first few.
        "print(kept, faults() - before < 20 * 4096)"
    )
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert plain.stdout.split() == ["True", "True"]
    own = {"MALLOC_TRIM_THRESHOLD_": "131072", "PATH": ""}
    users = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert users.stdout.split()[0] == "False"
