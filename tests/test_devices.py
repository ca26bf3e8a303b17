"""Device, precision, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gancore import GancoreError, devices
from gancore.devices import choose_device, choose_precision


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


@pytest.mark.parametrize(
    ("flags", "precision"), [("fma avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx2", "float32")]
)
def test_auto_precision_follows_the_processors_instructions(
    monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _self, **_: f"flags : {flags}\n")
    assert choose_precision("auto", torch.device("cpu")) == precision
    assert choose_precision("float32", torch.device("cpu")) == "float32"
    assert devices.choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_freed_memory_is_kept_unless_the_user_says_otherwise() -> None:
    code = (
        "import resource, torch\n"
        "from gancore.memory import keep_freed_memory\n"
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
