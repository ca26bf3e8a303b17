"""A small part of `benchmarks.grid`: runs that hosts share which die are whole, none twice, and those of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="its processes are forked")
def test_a_grid_that_hosts_share_and_die_in() -> None:
    words = [sys.executable, "-m", "benchmarks.grid", "--processes", "3", "--kills", "2", "--seeds", "1", "--stale", "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout[: done.stdout.rindex("}") + 1])
    assert (counts["runs"], counts["processes killed"], counts["trainings of the network that all need first"]) == (3, 2, 1)
