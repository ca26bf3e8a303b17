"""A paper's table with ours beside it: what is read, trained, scored, averaged and printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from gancore_report import paper_tables
from gancore_report import reproduced as reproduced_module
from gancore_report.intervals import QUANTILES, mean_and_interval
from gancore_report.paper_tables import PaperTable, read_table, table_files
from gancore_report.reproduced import Reproduced
from gancore_report.reproduction import reproduce
from gancore_report.scores import MISSING
from scipy import stats

from gancore import GancoreError
from gancore.cli.main import main
from gancore.files import toml
from gancore.recipe.layers import merge
from tests.compose.hosts import CBGAN, CPU, GAME, registry, run_of

SCORED: dict[str, Any] = {
    "run": {"iterations": 4, "evaluate_every": 2, "sample_every": 0},
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {"classes": {"use": "standard/class-histogram"}},
    "evaluation": {"samples": 60, "batch_size": 30},
}

TABLE = """
title = "Two games"
source = "Table 1"
cite = "arXiv:0000.00000"
protocol = "as they did"

[columns.KL]
score = "classes/kl"

[columns."classes, %"]
score = "classes/distinct_classes"
factor = -10.0
offset = 100.0
at = "best"

[columns.later]
score = "later/kl"

[columns.first]
score = "classes/histogram"
entry = 1

[small]
protocol = "two iterations"
seeds = 2
set = ["losses.adversarial.weight=0.5", "run.checkpoint_every=2", "run.keep_best=classes/kl"]

[[small.final]]
at = "best:classes/kl"
set = ["evaluation.samples=40", "metrics.later.use=standard/class-histogram"]
metrics = ["later"]

[[small.final]]
set = ["metrics.fid.use=standard/fid", "metrics.fid.network=nobody"]
metrics = ["fid"]
optional = true

[[rows]]
panel = "digits"
name = "plain"
printed = { KL = [0.31, 0.02] }
small = "PLAIN"

[[rows]]
panel = "digits"
name = "with balance"
printed = { KL = 0.06, "classes, %" = 12.5 }
small = { recipe = "BALANCED", set = ["losses.balance.weight=2.0"], final = { later = ["metrics.later.smoothing=0.1"] } }

[[rows]]
panel = "elsewhere"
name = "not ours"
printed = { KL = 0.5 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the table and its two recipes, whose annotator is one for all seeds."""
    from gancore.files.tensors import write_tensors

    folder = tmp_path_factory.mktemp("table")
    weights = folder / "annotator.safetensors"
    write_tensors(weights, run_of(SCORED).networks["annotator"].state_dict(), {})
    game = merge(merge(GAME, SCORED), {"networks": {"annotator": {"weights": str(weights)}}})
    (folder / "plain.toml").write_text(toml.dumps(game))
    (folder / "balanced.toml").write_text(toml.dumps(merge(game, CBGAN)))
    text = TABLE.replace("PLAIN", str(folder / "plain.toml")).replace("BALANCED", str(folder / "balanced.toml"))
    (folder / "table1.toml").write_text(text)
    return folder


def table_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> PaperTable:
    text = (folder / "table1.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "changed.toml"
    path.write_text(text)
    monkeypatch.setattr(paper_tables, "table_files", lambda _: {"games/table1": path})
    return read_table("games/table1", "small", registry())


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, Reproduced]:
    """Return the folder of two seeds of the table, and what was reproduced."""
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        return out, reproduce(table_of(folder, patch), registry(), out, seeds=2, device=CPU)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "scores.jsonl").read_text().splitlines()]


def test_means_and_intervals_are_those_of_the_runs(trained: tuple[Path, Reproduced]) -> None:
    out, _ = trained
    written = json.loads((out / "table.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["plain", "with balance", "not ours"]
    for row, name in zip(written["rows"], ("digits-plain", "digits-with-balance"), strict=False):
        (kl,) = [one for one in row["ours"] if one["column"] == "KL"]
        values = [lines_of(out / f"{name}-{seed}")[1]["scores"]["classes/kl"] for seed in (0, 1)]
        half = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
        assert kl["mean"] == pytest.approx(np.mean(values))
        assert kl["interval"] == pytest.approx(half, rel=1e-3)
        assert kl["number"] == 2
    assert written["rows"][0]["printed"] == {"KL": [0.31, 0.02]}
    assert written["rows"][2]["ours"] == []
    assert "1 thread a run" in written["hardware"] or "threads a run" in written["hardware"]


def test_the_best_evaluation_is_shown_where_the_column_says_so(trained: tuple[Path, Reproduced]) -> None:
    out, reproduced = trained
    for run, values in reproduced.runs["digits: plain"]:
        seen = [line["scores"].get("classes/distinct_classes") for line in lines_of(run.path)]
        best = max(number for number in seen if number is not None)
        assert values["classes, %"].number == 100 - 10 * best
    assert out.is_dir()


def test_an_entry_of_a_list_is_a_value(trained: tuple[Path, Reproduced]) -> None:
    _, reproduced = trained
    for run, values in reproduced.runs["digits: with balance"]:
        last = [line["scores"]["classes/histogram"] for line in lines_of(run.path) if "classes/histogram" in line["scores"]][-1]
        assert values["first"].number == last[1]


def test_ended_runs_are_scored_once_and_what_is_optional_is_told(trained: tuple[Path, Reproduced]) -> None:
    out, reproduced = trained
    lines = lines_of(out / "digits-plain-0")
    later = [line for line in lines if "later/kl" in line["scores"]]
    assert len(later) == 1
    divergences = {line["iteration"]: line["scores"]["classes/kl"] for line in lines if "classes/kl" in line["scores"]}
    assert later[0]["iteration"] == min(divergences, key=lambda iteration: divergences[iteration])
    assert 40 in later[0]["protocols"]["later"].values()
    assert any(note.startswith("fid could not be computed") and "nobody" in note for note in reproduced.remarks)
    # The row's own change makes another protocol, which stands in a column of its own. The paper prints nothing of it.
    header = next(line for line in reproduced.text().splitlines() if line.startswith("row"))
    assert header.split().count("later") == 2


def test_text_names_the_paper_protocols_interval_and_hardware(trained: tuple[Path, Reproduced]) -> None:
    _, reproduced = trained
    text = reproduced.text(80)
    # A path is not broken, so that it can be copied.
    assert all(len(line) <= 80 or len(line.split()[-1]) > 60 for line in text.splitlines())
    whole = " ".join(text.split())
    for part in ("Two games (Table 1, arXiv:0000.00000)", "0.31 ± 0.02", "0.06", "95 % interval", "Hardware:", "as they did"):
        assert part in whole
    rows = [line.split()[0] for line in reproduced.text().splitlines() if line[:1].isalpha()]
    assert rows.index("digits") < rows.index("plain") < rows.index("with") < rows.index("elsewhere") < rows.index("not")
    assert "| plain | 0.31 ± 0.02 |" in reproduced.markdown()


def test_a_column_without_a_value_is_left_out_and_said(trained: tuple[Path, Reproduced], folder: Path) -> None:
    _, reproduced = trained
    header, _, *rows = reproduced.markdown().splitlines()[2:]
    # The paper prints neither `later` nor `first`, so they have no cell of its own.
    titles = [title.strip() for title in header.strip("|").split("|")]
    assert [title for title in titles if title.endswith("(paper)")] == ["KL ↓ (paper)", "classes, % (paper)"]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    for place in range(1, len(titles)):
        assert any(row[place] not in ("", MISSING) for row in cells), titles[place]
    assert "Left out" not in reproduced.text()
    with pytest.MonkeyPatch.context() as patch:
        unmeasured = reproduce(table_of(folder, patch), registry(), folder / "unmeasured", device=CPU)
    assert "later" not in unmeasured.markdown().splitlines()[2]
    said = 'Left out: the columns "later" and "first", of which the paper prints nothing and no run has a score.'
    assert said in unmeasured.text()


def test_finished_runs_are_not_repeated_and_stored_ones_are_shown(
    trained: tuple[Path, Reproduced], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = trained
    times = {path: path.stat().st_mtime_ns for path in out.glob("*-[0-9]/**/*") if path.is_file()}
    table = table_of(folder, monkeypatch)
    again = reproduce(table, registry(), out, seeds=2, device=CPU)
    stored = reproduce(table, registry(), out, device=CPU)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again.json() == before.json()
    assert stored.json()["rows"] == before.json()["rows"]
    empty = reproduce(table, registry(), folder / "empty", device=CPU)
    assert empty.pending == {"digits: plain": [0, 1], "digits: with balance": [0, 1]}
    assert "seeds 0 and 1 of every row that can be trained. How long they take is said as soon" in empty.text()
    assert "0.31 ± 0.02" in empty.text()
    assert not stored.pending


def test_runs_that_are_missing_are_named_and_timed_by_those_that_there_are(
    trained: tuple[Path, Reproduced], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = trained
    out = folder / "half"
    shutil.copytree(folder / "out", out)
    shutil.rmtree(out / "digits-plain-1")
    shutil.rmtree(out / "digits-with-balance-0")
    monkeypatch.setattr(reproduced_module, "_seconds", lambda run: 60.0 * (1 + run.seed))
    half = reproduce(table_of(folder, monkeypatch), registry(), out, device=CPU)
    assert half.pending == {"digits: plain": [1], "digits: with balance": [0]}
    assert half.json()["pending"] == half.pending
    # Of each row as its own took: 60 s of the first, 120 s of the second.
    said = 'seed 1 of "digits: plain"; seed 0 of "digits: with balance". They take about 3 min 0 s, going by the 2 that have'
    assert said in half.text(), half.text()
    more = reproduce(table_of(folder, monkeypatch, ("seeds = 2", "seeds = 3")), registry(), folder / "out", device=CPU)
    assert "seed 2 of every row that can be trained. They take about 3 min 0 s" in more.text(), more.text()
    assert not before.pending


def test_other_settings_are_not_taken_for_stored_runs(
    trained: tuple[Path, Reproduced], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = trained
    with pytest.raises(GancoreError, match="was trained by another recipe"):
        reproduce(table_of(folder, monkeypatch, ("weight=0.5", "weight=0.25")), registry(), out, seeds=2, device=CPU)


def test_a_row_of_a_plugin_that_is_not_there_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = table_of(folder, monkeypatch, (str(folder / "plain.toml"), "nowhere/recipe"))
    reproduced = reproduce(table, registry(), tmp_path / "out", device=CPU)
    assert "digits: plain needs the plugin nowhere, which is not installed." in reproduced.remarks


def test_what_is_set_for_all_rows_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = table_of(folder, monkeypatch)
    reproduced = reproduce(table, registry(), tmp_path / "out", assignments=["run.iterations=2"], device=CPU)
    assert "- Otherwise than it says, in all rows: run.iterations=2." in reproduced.text()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("factor", "factr", "has no 'factr' (did you mean 'factor'?)"),
        ('at = "best"', 'at = "first"', "is 'last' or 'best', not 'first'"),
        ("KL = [0.31, 0.02]", "KL = [0.31, 0.02, 1]", "a number and its deviation"),
        ("KL = [0.31, 0.02]", "LK = 1", "has no 'LK'"),
        ('name = "with balance"', 'name = "plain"', "none twice"),
        ('metrics = ["later"]', "metrics = []", "names no metrics"),
        ("seeds = 2", 'seeds = "2"', "seeds is '2'"),
    ],
)
def test_a_damaged_table_gets_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, text: str) -> None:
    with pytest.raises(GancoreError, match="no table of a paper") as error:
        table_of(folder, monkeypatch, (old, new))
    assert text in str(error.value)


def test_unknown_tables_and_sizes_get_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GancoreError, match=r"no table 'cbgan/tabel1' \(did you mean 'cbgan/table1'\?\)"):
        read_table("cbgan/tabel1", "small", registry())
    table_of(folder, monkeypatch)
    with pytest.raises(GancoreError, match="has no size 'paper'"):
        read_table("games/table1", "paper", registry())


def test_intervals_are_by_students_t() -> None:
    assert [stats.t.ppf(0.975, n + 1) for n in range(len(QUANTILES))] == pytest.approx(QUANTILES, abs=6e-4)
    values = [1.0, 2.0, 4.5]
    assert mean_and_interval(values) == pytest.approx((2.5, 4.303 * np.std(values, ddof=1) / np.sqrt(3)))
    assert mean_and_interval([3.0]) == (3.0, None)


def test_the_command_lists_the_tables_and_says_how_to_train_one(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(main, ["reproduce"])
    assert listed.exit_code == 0
    assert "cbgan/table1" in listed.output
    shown = runner.invoke(main, ["reproduce", "cbgan/table1", "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert "36.97 ± 0.20" in shown.output
    assert f"gancore reproduce cbgan/table1 --size small --out {tmp_path / 'out'} --seeds 3" in shown.output
    assert "seeds 0, 1 and 2 of every row that can be trained" in " ".join(shown.output.split())


@pytest.mark.parametrize("name", sorted(table_files(registry())))
def test_installed_tables_name_recipes_and_scores_that_there_are(name: str) -> None:
    from gancore.tools import read

    content = toml.read(table_files(registry())[name])
    sizes = [size for size in paper_tables.SIZES if size in content]
    assert sizes
    for size in sizes:
        table = read_table(name, size, registry())
        final = {metric for one in table.finals for metric in one.metrics}
        scores = {column.score.partition("/")[0] for column in table.columns}
        filled = set()
        for row in table.rows:
            if row.trained is not None:
                trained = row.trained
                recipe = read(trained.recipe, registry(), overlays=trained.overlays, assignments=trained.assignments)
                own = scores & (set(recipe.group("metrics")) | final)
                assert own, f"{row.label} at {size}"
                assert trained.final.keys() <= final
                filled |= own
        assert filled == scores
