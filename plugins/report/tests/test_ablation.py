"""Ablation: a recipe with and without its parts, as a table that says what it compares."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_report import ablation
from gancore_report.ablation import ablate
from gancore_report.scores import ScoreTable
from gancore_report.tables import as_markdown, as_text
from gancore_training import checkpoint
from gancore_training.lock import holding
from gancore_training.stopping import Interrupted
from safetensors.torch import load_file

from gancore import GancoreError
from gancore.cli.main import main
from gancore.engine.run import Run
from gancore.files import toml
from gancore.files.tensors import write_tensors
from gancore.recipe.layers import merge
from gancore.recipe.recipe import Recipe, check_table
from tests.compose.hosts import CBGAN, CPU, FREE, GAME, installed, registry, run_of

SCORED: dict[str, Any] = {
    "run": {"iterations": 4, "sample_every": 0},
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {"classes": {"use": "standard/class-histogram"}, "fid": {"use": "standard/fid", "network": "annotator"}},
    "evaluation": {"samples": 60, "batch_size": 30},
}


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    """Return a game with a term and a sampler to drop, scored by one frozen annotator, whatever the seed."""
    path = tmp_path / "annotator.safetensors"
    write_tensors(path, run_of(SCORED).networks["annotator"].state_dict(), {})
    return merge(merge(merge(GAME, CBGAN), SCORED), {"networks": {"annotator": {"weights": str(path)}}})


def recipe_of(*tables: dict[str, Any]) -> Recipe:
    whole: dict[str, Any] = {}
    for over in tables:
        whole = merge(whole, over)
    return check_table(whole, registry(), name="test")


def ablated(out: Path, *tables: dict[str, Any], **options: Any) -> ScoreTable:
    return ablate(recipe_of(*tables), registry(), out, device=CPU, **options)


def last_line(folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((folder / "scores.jsonl").read_text().splitlines()[-1])
    return entry


def state(out: Path) -> dict[str, int]:
    """Return when each file below a folder was written, but for the table's own."""
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.parent != out}


def test_the_table_holds_mean_and_sample_deviation_of_the_runs_own_scores(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    scores = ablated(out, table, {"run": {"seed": 5}}, drops=["losses.balance"], seeds=3)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["ablation.json", "ablation.md", *(f"{v}-{s}" for v in ("whole", "without-losses.balance") for s in (5, 6, 7))]
    )
    assert toml.read(out / "whole-6" / "recipe.toml")["run"]["seed"] == 6
    assert "balance" in toml.read(out / "whole-6" / "recipe.toml")["losses"]
    assert "balance" not in toml.read(out / "without-losses.balance-6" / "recipe.toml")["losses"]
    written = json.loads((out / "ablation.json").read_text())
    assert written == {"recipe": "test", "iterations": 4, "seeds": [5, 6, 7], **scores.json()}
    assert [row["name"] for row in written["rows"]] == ["whole", "without losses.balance"]
    columns = [column.name for column in scores.columns]
    assert columns == ["classes/kl", "classes/distinct_classes", "fid/fid"]
    lines = (out / "ablation.md").read_text().splitlines()
    for row in written["rows"]:
        runs = [last_line(out / f"{row['name'].replace(' ', '-')}-{seed}") for seed in (5, 6, 7)]
        (shown,) = [line for line in lines if line.startswith(f"| {row['name']} |")]
        for column, score, cell in zip(columns, row["scores"], shown.split(" | ")[1:], strict=True):
            values = np.array([run["scores"][column] for run in runs])
            assert {run["protocols"][column.split("/")[0]]["id"] for run in runs} == {score["protocol"]}
            assert [next(v["value"] for v in run["values"] if v["score"] == column) for run in row["runs"]] == values.tolist()
            assert (score["score"], score["number"]) == (column, 3)
            assert score["mean"] == pytest.approx(values.mean(), rel=1e-12)
            assert score["deviation"] == pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-15)
            mean, deviation = cell.strip(" |*").split(" ± ")
            digits = len(mean.partition(".")[2])
            assert (mean, deviation) == (f"{values.mean():.{digits}f}", f"{values.std(ddof=1):.{digits}f}")
    ids = {metric: next(iter(written["protocols"][metric])) for metric in ("classes", "fid")}
    heads = [f"classes/kl ↓ ({ids['classes']})", f"classes/distinct_classes ↑ ({ids['classes']})", f"fid/fid ↓ ({ids['fid']})"]
    assert f"| variant | {' | '.join(heads)} |" in lines
    assert lines[0].startswith("test, 4 iterations, seeds 5, 6, 7; mean ± sample deviation over seeds; ")
    assert scores.notes == ()
    assert written["rows"][0]["scores"][2]["better"] == "lower"


def test_one_seed_has_no_deviation(tmp_path: Path, table: dict[str, Any]) -> None:
    scores = ablated(tmp_path / "out", table, drops=["samplers.long_tail"], seeds=1)
    assert "±" not in as_text(scores)
    assert as_text(scores).splitlines()[0].split("; ")[0] == "test, 4 iterations, seed 0"
    assert {score["deviation"] for row in scores.json()["rows"] for score in row["scores"]} == {None}


def test_by_default_each_term_attack_and_sampler_is_dropped_in_turn(tmp_path: Path, table: dict[str, Any]) -> None:
    more: dict[str, Any] = {"losses": {"r1": {"use": "probe/r1"}, "idle": {"use": "probe/r1", "weight": 0}}}
    planned = ablation.prepare(recipe_of(table, FREE, more), registry(), tmp_path, drops=[], seeds=2, announce=lambda _: None)
    trials = [trial for trial, _ in planned]
    dropped = ["losses.balance", "losses.r1", "attacks.free", "samplers.long_tail"]
    assert [trial.variant for trial in trials] == ["whole", *(f"without {part}" for part in dropped)] * 2
    assert [trial.seed for trial in trials] == [0] * 5 + [1] * 5
    assert len({trial.folder.path for trial in trials}) == 10
    assert list(tmp_path.iterdir()) == [tmp_path / "annotator.safetensors"]


def test_a_default_part_that_the_recipe_needs_stays_and_that_is_said(tmp_path: Path, table: dict[str, Any]) -> None:
    needs: dict[str, Any] = {"losses": {"own": {"use": "standard/hinge"}, "adversarial": False}}
    said: list[str] = []
    planned = ablation.prepare(recipe_of(table, needs), registry(), tmp_path / "out", drops=[], seeds=1, announce=said.append)
    assert [trial.variant for trial, _ in planned] == ["whole", "without losses.balance", "without samplers.long_tail"]
    (line,) = said
    assert line.startswith("losses.own is not dropped, for without it there is no plan: test without losses.own: no loss term")


def _interrupt_at_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    step: Callable[[Run], None] = Run.step
    done = 0

    def stepped(self: Run) -> None:
        nonlocal done
        step(self)
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "step", stepped)


@pytest.mark.parametrize("number", [2, 6, 13])
def test_an_interrupted_ablation_goes_on_to_the_same_bits(
    tmp_path: Path, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patched:
        _interrupt_at_step(patched, number)
        with pytest.raises(Interrupted):
            ablated(tmp_path / "stopped", table, drops=["losses.balance"], seeds=2)
    assert not (tmp_path / "stopped" / "ablation.md").exists()
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    reached = {path.name: int(checkpoint.checkpoints(path)[-1].stem) for path in stopped.iterdir()}
    assert sorted(reached.values()) == sorted([4] * (number // 4) + [number % 4])
    before = state(stopped)
    ablated(stopped, table, drops=["losses.balance"], seeds=2)
    after = state(stopped)
    assert all(after[name] == time for name, time in before.items() if reached[name.split("/")[0]] == 4)
    ablated(whole, table, drops=["losses.balance"], seeds=2)
    assert (stopped / "ablation.md").read_bytes() == (whole / "ablation.md").read_bytes()
    one, two = (json.loads((out / "ablation.json").read_text()) for out in (stopped, whole))
    for run in (run for written in (one, two) for row in written["rows"] for run in row["runs"]):
        run["folder"] = Path(run["folder"]).name
        assert run.pop("training_seconds") > 0
        assert run.pop("evaluation_seconds") > 0
    assert one == two
    tensors = [name for name in state(whole) if name.endswith(".safetensors")]
    assert len(tensors) == 4 * 4, "of each run the checkpoint, two networks and a head"
    for name in tensors:
        one, two = (load_file(folder / name) for folder in (stopped, whole))
        assert one.keys() == two.keys()
        assert [key for key in one if not torch.equal(one[key], two[key])] == [], name


def test_a_finished_run_is_not_repeated_and_more_seeds_and_parts_add_to_it(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    first = ablated(out, table, drops=["losses.balance"], seeds=1)
    before = state(out)
    assert ablated(out, table, drops=["losses.balance"], seeds=1) == first
    assert state(out) == before
    more = ablated(out, table, drops=["losses.balance", "ema", "ema"], seeds=2)
    assert [row.label for row in more.rows] == ["whole", "without losses.balance", "without ema"]
    after = state(out)
    assert {name: after[name] for name in before} == before
    assert more.rows[0].runs[0] == first.rows[0].runs[0]


def test_a_run_killed_before_its_weights_were_written_is_completed(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    ablated(out, table, drops=["losses.balance"], seeds=1)
    weights = out / "whole-0" / "weights" / "generator.safetensors"
    before = load_file(weights)
    weights.unlink()
    ablated(out, table, drops=["losses.balance"], seeds=1)
    assert all(torch.equal(before[name], value) for name, value in load_file(weights).items())


def test_scores_of_another_protocol_stand_in_columns_of_their_own_and_a_note_says_why(
    tmp_path: Path, table: dict[str, Any]
) -> None:
    scores = ablated(tmp_path / "out", table, drops=["losses.balance", "ema"], seeds=2)
    assert [column.name for column in scores.columns] == [
        name for name in ("classes/kl", "classes/distinct_classes", "fid/fid") for _ in range(2)
    ]
    assert [note.split(":")[0] for note in scores.notes] == ["classes", "fid"]
    assert all(" differ in weights (ema, live), so their values stand in columns of their own" in n for n in scores.notes)
    cells = {line.split(" | ")[0]: line.strip(" |").split(" | ")[1:] for line in as_markdown(scores).splitlines()}
    assert [bool(cell.strip()) for cell in cells["| without ema"]] == [False, True] * 3
    for name in ("| whole", "| without losses.balance"):
        assert [bool(cell.strip(" |")) for cell in (*cells[name], "")[:6]] == [True, False] * 3
    assert scores.json()["notes"] == list(scores.notes)
    assert len(scores.json()["protocols"]["fid"]) == 2


def test_seeds_of_different_protocols_are_not_averaged(tmp_path: Path, table: dict[str, Any]) -> None:
    # Without weights the annotator is another one for each seed.
    del table["networks"]["annotator"]["weights"]
    scores = ablated(tmp_path / "out", table, drops=["losses.balance"], seeds=2)
    (row,) = [line for line in as_markdown(scores).splitlines() if line.startswith("| whole")]
    assert row.count("(1 of 2)") == 6
    assert "±" not in row
    assert " differ in network_hash (" in scores.notes[0]


def test_values_that_evaluate_appended_later_count_each_for_itself(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    first = ablated(out, table, drops=["losses.balance"], seeds=1)
    entry = last_line(out / "whole-0")
    fid = {"scores": {"fid/fid": 7.0}, "protocols": {"fid": entry["protocols"]["fid"]}, "better": {"fid/fid": "lower"}}
    with (out / "whole-0" / "scores.jsonl").open("a") as file:
        file.write(json.dumps({"iteration": 4, **fid}) + "\n")
    (scored,) = ablated(out, table, drops=["losses.balance"], seeds=1).rows[0].runs
    before = {column.name: value for column, value in first.rows[0].runs[0].values.items()}
    assert {column.name: value for column, value in scored.values.items()} == {**before, "fid/fid": 7.0}


def test_a_damaged_line_of_the_scores_is_passed_over_and_named(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    first = ablated(out, table, drops=["losses.balance"], seeds=1)
    with (out / "whole-0" / "scores.jsonl").open("a") as file:
        file.write('{"iteration": 4, "sco')
    again = ablated(out, table, drops=["losses.balance"], seeds=1)
    assert again.notes == ("whole-0: The last line of scores.jsonl is cut off and was passed over.",)
    assert as_text(again).startswith(as_text(first))


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no such part": (
        {},
        {"drops": ["losses.balence"]},
        r"^test has no part 'losses.balence' to drop \(did you mean 'losses.balance'\?\) \(it has: ema, evaluation, heads",
    ),
    "a metric": ({}, {"drops": ["metrics.fid"]}, "^test has no part 'metrics.fid' to drop"),
    "a table that can't be off": ({}, {"drops": ["data"]}, "^test has no part 'data' to drop"),
    "a part already off": ({"ema": False}, {"drops": ["ema"]}, "^test has no part 'ema' to drop"),
    "a player": (
        {},
        {"drops": ["losses.balance", "networks.generator"]},
        r"^test without networks.generator: the loop standard/alternating trains .* no \[networks.generator\]",
    ),
    "what another part needs": (
        {},
        {"drops": ["networks.classifier"]},
        r"^test without networks.classifier: losses.balance \(cbgan/class-balance\) asks for ",
    ),
    "a metric's network": (
        {},
        {"drops": ["networks.annotator"]},
        "^test without networks.annotator: metrics.classes .* no class",
    ),
    "no metric": ({"metrics": False}, {}, "^test has no metrics to fill a table with; add some"),
    "no seed": ({}, {"seeds": 0}, "^an ablation takes at least one seed, not 0; set --seeds"),
    "nothing to drop": (
        {"losses": {"balance": False}, "samplers": False},
        {},
        "^test has nothing to drop by default, so name a part by --drop: it has no loss term but losses.adversarial",
    ),
    "nothing that can be dropped": (
        {"losses": {"balance": False, "own": {"use": "standard/hinge"}, "adversarial": False}, "samplers": False},
        {},
        "^test has nothing to drop by default, so name a part by --drop; losses.own is not dropped, for without it",
    ),
    "a recipe without a plan": (
        {"heads": {"adversarial": False}},
        {},
        r"^test: losses.adversarial \(standard/relativistic\) asks",
    ),
    "a training that does not exist": (
        {"networks": {"classifier": {"trained_by": "cbgan/nothing"}}},
        {},
        "there is no recipe 'cbgan/nothing'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_gets_a_sentence_before_anything_is_written(tmp_path: Path, table: dict[str, Any], case: str) -> None:
    over, options, sentence = WRONG[case]
    with pytest.raises(GancoreError, match=sentence):
        ablated(tmp_path / "out", table, over, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_in_it_is_refused_before_anything_is_trained(
    tmp_path: Path, table: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    ablated(out, table, drops=["losses.balance"], seeds=1)
    before = state(out)

    def refused(match: str, where: Path = out, *more: dict[str, Any]) -> None:
        with pytest.raises(GancoreError, match=match):
            ablated(where, table, *more, drops=["samplers.long_tail", "losses.balance"], seeds=1)
        assert {name: time for name, time in state(out).items() if name != "without-samplers.long_tail-0/note"} == before

    refused("whole-0 was trained by another recipe, or other settings; choose another --out", out, {"run": {"batch_size": 8}})
    refused("whole-0 is a run; choose", out / "whole-0")
    refused("annotator.safetensors is a file; choose", tmp_path / "annotator.safetensors")
    (out / "without-samplers.long_tail-0").mkdir()
    (out / "without-samplers.long_tail-0" / "note").write_text("mine")
    refused("long_tail-0 holds other files and no run; choose another --out")


def test_a_run_that_was_stopped_before_its_last_scores_is_scored_and_not_repeated(
    tmp_path: Path, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = ablated(out, table, drops=["losses.balance"], seeds=1)
    (out / "whole-0" / "scores.jsonl").unlink()
    monkeypatch.setattr(Run, "step", lambda _: pytest.fail("it was repeated"))
    after = ablated(out, table, drops=["losses.balance"], seeds=1)
    numbers = [[[run.values for run in row.runs] for row in each.rows] for each in (before, after)]
    assert numbers[0] == numbers[1]


def test_a_training_that_fails_says_whose_it_was(tmp_path: Path, table: dict[str, Any]) -> None:
    rate = {"optimizers": {"generator": {"use": "adam", "lr": 1e30}, "discriminator": {"use": "adam", "lr": 1e30}}}
    with pytest.raises(GancoreError, match=r"^test, seed 0: the loss .* became "):
        ablated(tmp_path / "out", table, rate, drops=["losses.balance"], seeds=1)


def test_several_processes_are_refused(tmp_path: Path, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GancoreError, match="start it without torchrun"):
        ablated(tmp_path / "out", table)


# -- the command -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(toml.dumps(table))
    with installed(registry()):
        yield path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["ablate", *map(str, words)], catch_exceptions=False)


def test_the_command_prints_the_table_and_writes_it(recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, "--drop", "losses.balance", "--seeds", 2, "--set", "run.iterations=2")
    assert done.exit_code == 0, done.output
    out = tmp_path / "runs" / "tiny-ablation"
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        f"{variant}-{seed}" for variant in ("whole", "without-losses.balance") for seed in (0, 1)
    ]
    lines = done.stdout.splitlines()
    assert "tiny.toml, 2 iterations, seeds 0, 1; mean ± sample deviation over seeds" in lines[0]
    assert lines[2].split() == ["variant", "classes/kl", "↓", "classes/distinct_classes", "↑", "fid/fid", "↓"]
    assert [line.split(" ")[0] for line in lines[3:6]] == ["protocol", "whole", "without"]
    assert lines[4].count("±") == lines[5].count("±") == 3
    assert lines[-1] == f"The table is in {out.relative_to(tmp_path)}/ablation.md, and its values by seed in " + (
        f"{out.relative_to(tmp_path)}/ablation.json"
    )
    assert "run 4 of 4: without losses.balance, seed 1" in done.stderr


@pytest.mark.parametrize("words", [["--drop", "losses.balanse"], ["--drop", "networks.generator"], ["--seeds", 0]])
def test_the_command_ends_with_a_sentence_and_status_2(recipe: Path, tmp_path: Path, words: list[object]) -> None:
    done = run(recipe, *words)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [recipe, "--set", "run.batch_size=8", "--drop", "losses.balance", "--drop", "ema", "--seeds", 1, "--out", "here"]
    with monkeypatch.context() as patched:
        _interrupt_at_step(patched, 6)
        stopped = run(*words)
    assert stopped.exit_code == 130
    newest, line = stopped.stdout.splitlines()
    assert newest == "Stopped; the newest checkpoint is here/without-losses.balance-0/checkpoints/00000002.safetensors."
    assert line == (
        f"Saved. To go on, the same command: gancore ablate {recipe} --set run.batch_size=8 "
        "--drop losses.balance --drop ema --seeds 1 --out here"
    )
    again = line.split("gancore ablate ")[1].replace("'", "").split()
    done = run(*again)
    assert done.exit_code == 0, done.output
    assert "going on after 2 of 4 iterations" in done.stderr
    assert "run 2 of 2: without ema, seed 0" in done.stderr


def test_a_second_ablation_takes_the_runs_that_are_free(tmp_path: Path, table: dict[str, Any]) -> None:
    out = tmp_path / "out"
    with (
        holding(out / "whole-0"),
        pytest.raises(GancoreError, match=r"still trains 1 of the runs; ask again .*whole-0 is in use"),
    ):
        ablated(out, table, drops=["losses.balance"], seeds=1)
    assert (out / "without-losses.balance-0" / "weights" / "generator.safetensors").is_file()
    assert not (out / "ablation.md").exists()
    ablated(out, table, drops=["losses.balance"], seeds=1)
    assert (out / "ablation.md").is_file()
