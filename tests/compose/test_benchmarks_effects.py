"""The tables of the papers' effects: what a row's runs lack is told, and is no number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.effects import cell, score
from benchmarks.runs import Job


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([None, None], "-"),
        ([1.0, 3.0], "2.000 ± 1.414"),
        ([1.0, None, 3.0], "2.000 ± 1.414 (2 of 3)"),
        ([None, 0.5], "0.500 (1 of 2)"),
        ([float("nan"), 1.0], "nan"),
    ],
)
def test_what_runs_lack_is_told(values: list[float | None], shown: str) -> None:
    assert cell(values) == shown


def test_the_last_value_of_a_score_counts(tmp_path: Path) -> None:
    entries = [{"scores": {"a/b": 1, "c/d": 2}}, {"scores": {"c/d": 3}}]
    job = Job(tmp_path / "0-0", "standard/digits", (), ())
    job.folder.mkdir(parents=True)
    (job.folder / "scores.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert [score(job, name) for name in ("a/b", "c/d", "e/f")] == [1.0, 3.0, None]
