"""The comparison of runs: what shares a column, what shares a row, and what is said about the rest."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gancore_report.comparison import compare, write
from gancore_report.scores import ScoreTable
from gancore_report.tables import as_markdown, as_text

from gancore import GancoreError
from gancore.cli import main
from gancore.files import toml
from tests.hosts import CONDITIONAL

MakeRun = Callable[..., Path]

LOWER = {"fid/fid": "lower"}


def protocol(name: str = "aaaa1111", **settings: Any) -> dict[str, Any]:
    return {"id": name, "samples": 2000, "weights": "ema", **settings}


def scored(iteration: int, fid: Any, made: dict[str, Any] | None = None, **scores: Any) -> dict[str, Any]:
    """Return a line of the scores; `scores` are named ``fid__other`` for ``fid/other``."""
    values = {"fid/fid": fid, **{name.replace("__", "/"): value for name, value in scores.items()}}
    known = {"fid": protocol() if made is None else made, "classes": protocol("cccc3333")}
    return {"iteration": iteration, "scores": values, "protocols": known, "better": LOWER, "seconds": 2.0}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    monkeypatch.chdir(tmp_path)

    def make_run(
        name: str, *lines: dict[str, Any], seed: int = 0, weight: float = 1.0, iterations: int = 40, processes: int = 1
    ) -> Path:
        path = Path(name)
        path.mkdir(parents=True)
        table = {
            "run": {"iterations": iterations, "seed": seed},
            "losses": {"balance": {"weight": weight}},
            "metrics": {"fid": {}},
        }
        (path / "recipe.toml").write_text(toml.dumps(table))
        (path / "environment.json").write_text(json.dumps({"processes": processes, "precision": "float32"}))
        (path / "log.jsonl").write_text(json.dumps({"iteration": iterations, "seconds": 6.0}) + "\n")
        if lines:
            (path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return make_run


def body(compared: ScoreTable) -> list[str]:
    """Return the lines of the table alone."""
    return as_text(compared).split("\n\n")[1].splitlines()


# -- columns ---------------------------------------------------------------------------------------------------------------


def test_values_of_one_protocol_share_a_column_and_the_best_is_marked(make: MakeRun) -> None:
    compared = compare([make("plain", scored(40, 20.0)), make("balanced", scored(40, 9.5), weight=2.0)])
    assert as_text(compared).splitlines() == [
        "Scores of each run's last evaluation; best of a column: *",
        "",
        "run       iteration  seed  fid/fid ↓",
        "protocol                    aaaa1111",
        "plain            40     0     20.00",
        "balanced         40     0      9.50*",
    ]


def test_values_of_different_protocols_have_columns_of_their_own_and_the_difference_is_named(make: MakeRun) -> None:
    few = protocol("bbbb2222", samples=500, weights="live")
    runs = [make("one", scored(40, 20.0)), make("few", scored(40, 10.0, few), weight=2.0)]
    compared = compare(runs)
    assert body(compared) == [
        "run       iteration  seed  fid/fid ↓  fid/fid ↓",
        "protocol                    aaaa1111   bbbb2222",
        "one              40     0      20.00",
        "few              40     0                 10.00",
    ]
    assert compared.notes == (
        "fid: the protocols aaaa1111 and bbbb2222 differ in samples (2000, 500), weights (ema, live), so their values stand in "
        "columns of their own and can't be compared with each other.",
    )
    assert "*" not in as_text(compared)
    assert "**" not in as_markdown(compared)


def test_one_different_setting_keeps_values_apart_though_the_ids_are_the_same(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0)), make("two", scored(40, 2.0, protocol(samples=7)), weight=2.0)])
    assert len(compared.columns) == 2
    assert "aaaa1111 and aaaa1111 differ in samples (2000, 7)" in compared.notes[0]


def test_values_that_do_not_say_how_they_were_made_are_compared_with_none(make: MakeRun) -> None:
    runs = [make(name, {**scored(40, 1.0), "protocols": {}}, weight=place) for place, name in enumerate("ab")]
    compared = compare([*runs, make("c", scored(40, 2.0), weight=9)])
    assert [column.id for column in compared.columns] == ["not recorded", "not recorded", "aaaa1111"]
    assert compared.notes[0] == "fid: how the values of a were computed is not recorded, so nothing compares with them."
    assert "*" not in as_text(compared)


def test_a_value_keeps_the_protocol_of_its_own_line(make: MakeRun) -> None:
    again = scored(40, 3.0, protocol("bbbb2222", samples=9))
    compared = compare([make("one", scored(40, 1.0, fid__other=5.0), again)])
    assert {(column.name, column.id) for column in compared.columns} == {("fid/fid", "bbbb2222"), ("fid/other", "aaaa1111")}
    assert [compared.rows[0].values(column) for column in compared.columns] == [[3.0], [5.0]]


def test_a_score_that_a_run_lacks_is_a_dash_and_one_made_otherwise_a_blank(make: MakeRun) -> None:
    one = make("one", scored(40, 1.0, fid__other=4.0))
    two = make("two", scored(40, 2.0, protocol("bbbb2222", samples=9)), weight=2.0)
    assert body(compare([one, two]))[-1].split() == ["two", "40", "0", "2.000", "-"]


def test_lists_are_left_out(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0, classes__histogram=[0.5, 0.5], classes__kl=0.1))])
    assert [column.name for column in compared.columns] == ["fid/fid", "classes/kl"]


@pytest.mark.parametrize(("asked", "shown"), [("fid", ["fid/fid", "fid/other"]), ("fid/other", ["fid/other"])])
def test_metrics_can_be_chosen(make: MakeRun, asked: str, shown: list[str]) -> None:
    run = make("one", scored(40, 1.0, fid__other=2.0, classes__kl=0.1))
    assert [column.name for column in compare([run], metrics=[asked]).columns] == shown


def test_no_value_is_the_best_of_equal_ones_or_without_a_direction(make: MakeRun) -> None:
    runs = [make(name, scored(40, 1.0, fid__other=place), weight=place) for place, name in enumerate("abc")]
    assert "*" not in as_text(compare(runs))


def test_values_that_are_written_alike_are_marked_alike_and_none_that_is_not_finite(make: MakeRun) -> None:
    values = (math.nan, 10.0, 1.00001, 1.00002, math.inf)
    runs = [make(f"r{place}", scored(40, value), weight=place) for place, value in enumerate(values)]
    assert [line.split()[-1] for line in body(compare(runs))[2:]] == ["nan", "10.00", "1.00*", "1.00*", "inf"]


# -- rows ------------------------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_nothing_but_their_seed_share_a_row(make: MakeRun) -> None:
    seeds = [make(f"whole-{seed}", scored(40, value), seed=seed) for seed, value in enumerate((1.0, 2.0, 6.0))]
    other = make("without-0", scored(40, 4.0), weight=0.0)
    compared = compare([seeds[0], other, *seeds[1:]])
    assert as_text(compared).splitlines()[0] == (
        "Scores of each run's last evaluation; mean ± sample deviation over seeds; best of a column: *"
    )
    assert body(compared) == [
        "run            iteration  seeds       fid/fid ↓",
        "protocol                               aaaa1111",
        "whole-{0,1,2}         40      3  3.000 ± 2.646*",
        "without-0             40      1  4.000",
    ]
    assert "| whole-{0,1,2} | 40 | 3 | **3.000 ± 2.646** |" in as_markdown(compared)
    assert "| run | iteration | seeds | fid/fid ↓ (aaaa1111) |" in as_markdown(compared)


def test_each_run_can_have_a_row_of_its_own(make: MakeRun) -> None:
    compared = compare([make(f"whole-{seed}", scored(40, 1.0 + seed), seed=seed) for seed in (0, 1)], each=True)
    assert [line.split() for line in body(compared)[2:]] == [["whole-0", "40", "0", "1.000*"], ["whole-1", "40", "1", "2.000"]]


def test_a_mean_over_fewer_runs_than_the_row_has_says_so(make: MakeRun) -> None:
    few = protocol("bbbb2222", samples=9)
    lines = [scored(40, 1.0), scored(40, 3.0), scored(40, 8.0, few)]
    compared = compare([make(f"whole-{seed}", line, seed=seed) for seed, line in enumerate(lines)])
    assert "2.000 ± 1.414 (2 of 3)" in as_text(compared)
    assert "8.000 (1 of 3)" in as_text(compared)


def test_the_same_seed_twice_is_no_second_sample(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0)), make("two", scored(40, 1.0))])
    assert [row.label for row in compared.rows] == ["one", "two"]
    assert compared.notes == (
        "one and two have the same recipe and the same seed, so the runs of that recipe are not averaged.",
    )


def test_different_iterations_are_not_averaged(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0)), make("two", scored(20, 2.0), seed=1)])
    assert [line.split()[:4] for line in body(compared)[2:]] == [["one", "40", "0", "1.000*"], ["two", "20", "of", "40"]]
    assert compared.notes == (
        "one and two have the same recipe but are compared at different iterations, which are not averaged.",
    )


def test_the_number_of_processes_makes_no_other_training(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0)), make("two", scored(40, 2.0), seed=1, processes=2)])
    assert [row.label for row in compared.rows] == ["one, two"]


def test_folders_of_one_name_are_told_apart(make: MakeRun) -> None:
    runs = [make(name, scored(40, 1.0), weight=place) for place, name in enumerate(("a/x/run", "b/x/run", "b/other"))]
    assert [row.label for row in compare(runs).rows] == ["a/x/run", "b/x/run", "other"]


def test_a_run_that_is_named_twice_is_shown_once(make: MakeRun, tmp_path: Path) -> None:
    run = make("one", scored(40, 1.0))
    compared = compare([run, tmp_path / "one", make("two", scored(40, 2.0), weight=2.0)])
    assert [row.label for row in compared.rows] == ["one", "two"]
    assert len(compared.notes) == 1


def test_a_run_without_scores_among_others_is_a_row_of_dashes(make: MakeRun) -> None:
    compared = compare([make("one", scored(40, 1.0)), make("two", seed=1)])
    assert [line.split() for line in body(compared)[2:]] == [["one", "40", "0", "1.000"], ["two", "-", "1", "-"]]
    assert compared.notes == ("two has no scores; score it by `gancore evaluate two`.",)


def test_a_run_without_the_asked_metric_says_so_and_is_not_sent_to_be_scored(make: MakeRun) -> None:
    other = {**scored(40, 0.0), "scores": {"classes/kl": 0.5}}
    compared = compare([make("one", scored(40, 1.0)), make("two", other, weight=2.0)], metrics=["fid"])
    assert compared.notes == ("two was not scored by fid.",)


def test_damaged_lines_are_passed_over_and_named(make: MakeRun) -> None:
    run = make("one", scored(40, 1.0))
    with (run / "scores.jsonl").open("ab") as file:
        file.write(b'{"iteration": 60, "scor\xff')
    compared = compare([run])
    assert body(compared)[-1].split() == ["one", "40", "0", "1.000"]
    assert compared.notes == ("one: The last line of scores.jsonl is cut off and was passed over.",)


# -- which evaluation ------------------------------------------------------------------------------------------------------


def test_the_last_evaluation_counts_and_not_the_best(make: MakeRun) -> None:
    run = make("one", scored(20, 1.0), scored(30, 2.0), scored(40, 3.0))
    assert body(compare([run]))[-1].split() == ["one", "40", "0", "3.000"]
    assert body(compare([run], at="30"))[-1].split() == ["one", "30", "0", "2.000"]
    best = compare([run], at="best:fid/fid")
    assert as_text(best).splitlines()[0] == "Scores where each run's fid/fid was best, so chosen by the score"
    assert body(best)[-1].split() == ["one", "20", "0", "1.000"]


def test_the_last_evaluation_of_a_metric_is_the_last_that_has_it(make: MakeRun) -> None:
    run = make("one", scored(20, 1.0), {**scored(40, 0.0), "scores": {"classes/kl": 0.5}})
    assert body(compare([run], metrics=["fid"]))[-1].split()[:4] == ["one", "20", "of", "40"]


def test_the_best_is_the_highest_where_higher_is_better_and_never_not_a_number(make: MakeRun) -> None:
    lines = [
        {**scored(n, value), "better": {"fid/fid": "higher"}}
        for n, value in ((10, math.nan), (20, 7.0), (30, math.nan), (40, 3.0))
    ]
    assert compare([make("one", *lines)], at="best:fid/fid").rows[0].runs[0].iteration == 20


def test_a_run_without_the_asked_iteration_is_a_row_of_dashes(make: MakeRun) -> None:
    compared = compare([make("one", scored(20, 1.0)), make("two", scored(40, 1.0), weight=2.0)], at="20")
    assert body(compared)[-1].split() == ["two", "-", "0", "-"]
    assert compared.notes == ("two has no scores of iteration 20 (it has those of 40).",)


# -- what is refused -------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a score that no run has": ({"metrics": ["fit"]}, r"^none of the runs was scored by 'fit' \(did you mean 'fid'\?\)"),
    "an iteration that no run has": ({"at": "7"}, r"^one has no scores of iteration 7 .*20, 40\)\. Nor has any other"),
    "no evaluation": ({"at": "first"}, "^--at 'first' is neither last, nor an iteration"),
    "the best of a score that no run has": ({"at": "best:fid"}, "no run has the score 'fid'.*did you mean 'fid/fid'"),
    "the best of a score without a direction": ({"at": "best:fid/other"}, "^fid/other has no best value"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_gets_a_sentence(make: MakeRun, case: str) -> None:
    lines = [scored(20, 1.0, fid__other=1.0), scored(40, 2.0, fid__other=2.0)]
    options, sentence = WRONG[case]
    with pytest.raises(GancoreError, match=sentence):
        compare([make("one", *lines), make("two", *lines, weight=2.0)], **options)


def test_there_is_no_best_of_values_of_different_protocols(make: MakeRun) -> None:
    run = make("one", scored(20, 1.0, protocol("bbbb2222", samples=9)), scored(40, 2.0))
    with pytest.raises(GancoreError, match=r"one scored fid/fid by different protocols \(aaaa1111, bbbb2222\)"):
        compare([run], at="best:fid/fid")


def test_runs_without_any_scores_are_refused_with_the_command_that_scores_them(make: MakeRun) -> None:
    with pytest.raises(GancoreError, match=r"one has no scores; score it by `gancore evaluate one`\. Nor has any other"):
        compare([make("one"), make("two", weight=2.0)])


def test_a_folder_of_runs_stands_for_all_of_them(make: MakeRun) -> None:
    folders = [make("seeds/whole-0", scored(40, 1.0)), make("seeds/more/half", scored(40, 2.0), weight=2.0)]
    apart = make("apart", scored(40, 3.0), weight=3.0)
    assert compare([Path("seeds"), apart], each=True) == compare([folders[1], folders[0], apart], each=True)
    # One that is named beside its folder is still shown once.
    assert any("named twice" in note for note in compare([Path("seeds"), folders[0]]).notes)


def test_folders_that_are_no_runs_are_refused(make: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    damaged = make("damaged", scored(40, 1.0))
    (damaged / "recipe.toml").write_text("[run")
    for name, sentence in (("nowhere", "holds no run"), ("file", "holds no run"), ("damaged", "is not valid TOML")):
        with pytest.raises(GancoreError, match=sentence):
            compare([Path(name)])
    with pytest.raises(GancoreError, match="at least one run"):
        compare([])


# -- files and the command -------------------------------------------------------------------------------------------------


def test_a_csv_has_a_line_for_each_run_and_no_formula(make: MakeRun, tmp_path: Path) -> None:
    runs = [make(f"=whole-{seed}", scored(40, 1.0 + 2 * seed), seed=seed) for seed in (0, 1)]
    other = make("other", scored(20, 5.5, protocol("bbbb2222", samples=9)), weight=2.0)
    write(compare([*runs, other]), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["run"], line["seed"], line["iteration"]) for line in lines] == [
        ("'=whole-0", "0", "40"),
        ("'=whole-1", "1", "40"),
        ("other", "0", "20"),
    ]
    assert [(line["fid/fid (aaaa1111)"], line["fid/fid (bbbb2222)"]) for line in lines] == [
        ("1.0", ""),
        ("3.0", ""),
        ("", "5.5"),
    ]


def test_the_file_is_markdown_or_json_by_its_name(make: MakeRun, tmp_path: Path) -> None:
    compared = compare([make(f"whole-{seed}", scored(40, 1.0 + 2 * seed), seed=seed) for seed in (0, 1)])
    write(compared, tmp_path / "new" / "table.md")
    assert (tmp_path / "new" / "table.md").read_text() == as_markdown(compared)
    write(compared, tmp_path / "table.json")
    written = json.loads((tmp_path / "table.json").read_text())
    (row,) = written["rows"]
    (score,) = row["scores"]
    assert score == {
        "score": "fid/fid",
        "protocol": "aaaa1111",
        "better": "lower",
        "mean": 2.0,
        "deviation": pytest.approx(math.sqrt(2)),
        "number": 2,
    }
    assert [(run["folder"], run["seed"], run["values"][0]["value"]) for run in row["runs"]] == [
        ("whole-0", 0, 1.0),
        ("whole-1", 1, 3.0),
    ]
    assert (row["runs"][0]["training_seconds"], row["runs"][0]["evaluation_seconds"]) == (6.0, 2.0)
    assert written["protocols"]["fid"]["aaaa1111"]["samples"] == 2000
    with pytest.raises(GancoreError, match=r"ends in none of \.md, \.csv and \.json"):
        write(compared, tmp_path / "table.html")
    with pytest.raises(GancoreError, match="can't be written"):
        write(compared, tmp_path / "table.json" / "below.md")


def test_no_line_of_the_table_or_its_notes_is_wider_than_the_terminal(make: MakeRun) -> None:
    runs = [
        make(n, scored(40, 1.0, protocol(n * 8, samples=k), classes__distinct_classes=k), weight=k)
        for k, n in enumerate("abcdef")
    ]
    text = as_text(compare(runs), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\nprotocol ") > 1
    assert max(map(len, as_text(compare(runs)).splitlines())) > 80


def run(*words: object) -> Result:
    return CliRunner().invoke(main.main, [str(word) for word in words], catch_exceptions=False)


def test_the_command_prints_the_table_and_ends_with_0_also_where_protocols_differ(make: MakeRun) -> None:
    runs = [make("one", scored(40, 1.0)), make("two", scored(40, 2.0, protocol("bbbb2222", samples=9)), weight=2.0)]
    done = run("compare", *runs, "--out", "table.md")
    assert done.exit_code == 0
    assert done.stdout == f"{as_text(compare(runs))}\n\nThe table is in table.md\n"


@pytest.mark.parametrize(
    "words", [["nowhere"], ["one", "--metric", "kid"], ["one", "--at", "x"], ["one", "--out", "t.txt"], []]
)
def test_the_command_ends_with_a_sentence_and_status_2(make: MakeRun, words: list[str]) -> None:
    make("one", scored(40, 1.0))
    done = run("compare", *words)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert done.stdout == ""


def test_comparing_needs_no_torch() -> None:
    code = "import sys, gancore_report.comparison; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


RECIPE = f"""
[run]
iterations = 4
batch_size = 8
latent_dim = 4
precision = "float32"
sample_every = 0
{CONDITIONAL}
[metrics.cas]
use = "standard/cas"
labels = "generator"
architecture = "small-cnn"
classifier_iterations = 2
[evaluation]
samples = 16
"""


def test_runs_that_were_trained_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RECIPE)
    for seed in (0, 1):
        assert run("train", "tiny.toml", "--set", f"run.seed={seed}", "--out", f"tiny-{seed}").exit_code == 0
    assert run("train", "tiny.toml", "--set", "evaluation.samples=24", "--out", "more").exit_code == 0
    done = run("compare", "tiny-0", "tiny-1", "more")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[2].split() == ["run", "iteration", "seeds", "cas/cas", "↑", "cas/cas", "↑"]
    assert lines[4].startswith("tiny-{0,1}          4      2  ")
    assert lines[4].count("±") == 1
    assert lines[5].split()[:3] == ["more", "4", "1"]
    assert "differ in samples (16, 24), so" in lines[-1]
