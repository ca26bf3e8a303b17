"""Freed memory stays in a process that trains."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_freed_memory_is_kept_unless_the_user_says_otherwise() -> None:
    code = (
        "import resource, torch\n"
        "from gancore_training.allocator import keep_freed_memory\n"
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
    own = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "131072"}
    users = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert users.stdout.split()[0] == "False"
