"""A small part of `benchmarks.kills`: work that is ended at a random moment goes on to the same bits, and leaves no litter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="what limits and takes rights here is Linux's")
@pytest.mark.parametrize("work", ["training", "what is needed first"])
def test_work_that_is_ended_goes_on_to_the_same_files(work: str) -> None:
    ends = ["SIGKILL", "SIGUSR1", "full disk", "read-only folder"]
    words = [sys.executable, "-m", "benchmarks.kills", "--trials", "4", "--works", work, "--ends", *ends]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
