"""``python -m gancore_report.attached WORDS``: ``gancore WORDS``, which ends as by SIGTERM once who started it is gone.

That one holds the other end of its standard input, which the system closes however it ends, also where it is killed. Imports no
torch.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading


def _end_with(pipe: int) -> None:
    # Not through `sys.stdin`, whose lock Python wants at its end.
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.dup(0),), daemon=True).start()
    with open(os.devnull) as nothing:  # noqa: PTH123 - whoever asks gets no answer, as before
        os.dup2(nothing.fileno(), 0)
    runpy.run_module("gancore", run_name="__main__", alter_sys=True)
