"""Training into a folder: log, samples, checkpoints, scores, and resume after any kind of end."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import Progress, checkpoint, recipe_digest
from gancore_training.evaluate import Evaluator
from gancore_training.run_folder import RunFolder
from gancore_training.sampling import sample
from gancore_training.stopping import Interrupted
from gancore_training.trainer import open_run, train
from safetensors.torch import load_file

from gancore import GancoreError
from gancore.contract.running import Loop
from gancore.engine import devices
from gancore.engine.run import Run
from gancore.files import read_tensors, toml, write_tensors
from gancore.recipe.layers import merge
from gancore.recipe.recipe import Recipe, check_table
from tests.hosts import BALANCE, CPU, FREE, GAME, registry, same

CASES: dict[str, dict[str, Any]] = {"plain": {}, "BALANCE": BALANCE, "attack": FREE}
CHILD = """
import sys, torch
from pathlib import Path
from gancore.files import read_tensors, toml, write_tensors
from gancore.recipe.recipe import check_table
from gancore_training.trainer import train
from tests.hosts import CPU, registry
table, out = toml.read(Path(sys.argv[1])), Path(sys.argv[2])
train(check_table(table, registry(), name="child"), registry(), out, device=CPU, resume=True)
"""


class Watcher(Progress):
    """Keeps what a training announces."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def announce(self, text: str) -> None:
        self.told.append(text)


def recipe_of(*tables: dict[str, Any]) -> Recipe:
    table = GAME
    for over in tables:
        table = merge(table, over)
    return check_table(table, registry(), name="test")


def trained(out: Path, *tables: dict[str, Any], resume: bool = False) -> Run:
    return train(recipe_of(*tables), registry(), out, device=CPU, resume=resume)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_recipe_environment_log_samples_checkpoint_and_weights(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"run": {"sample_every": 4}})
    out = tmp_path / "run"
    assert toml.read(out / "recipe.toml") == run.recipe.table
    environment = json.loads((out / "environment.json").read_text())
    assert environment["parameters"].keys() == {"generator", "discriminator"}
    assert sum(environment["class_counts"]) == 1440
    assert [entry["iteration"] for entry in lines(out / "log.jsonl")] == [2, 4, 6, 8]
    assert lines(out / "log.jsonl")[-1]["losses"].keys() == {"discriminator/adversarial", "generator/adversarial"}
    names = [f"{name}.{ending}" for name in ("00000004", "00000008", "real") for ending in ("json", "png")]
    assert [path.name for path in sorted((out / "samples").iterdir())] == names
    assert [path.name for path in checkpoint.checkpoints(out)] == ["00000008.safetensors"]
    saved = load_file(out / "weights" / "generator.safetensors")
    assert run.average is not None
    assert all(torch.equal(saved[name], value) for name, value in run.average.network.state_dict().items())


def test_the_resolved_recipe_is_itself_a_recipe(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", BALANCE)
    again = check_table(toml.read(tmp_path / "run" / "recipe.toml"), registry(), name="again")
    assert recipe_digest(again) == recipe_digest(run.recipe)
    assert same(run, train(again, registry(), tmp_path / "again", device=CPU)) == []


@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_at_a_random_moment_and_resumed_ends_with_the_same_bits(tmp_path: Path, case: str) -> None:
    # Longer than the longest moment below takes, on a fast machine that does nothing else.
    iterations = 1600
    table = merge(GAME, merge(CASES[case], {"run": {"iterations": iterations, "checkpoint_every": 7, "sample_every": 0}}))
    path = tmp_path / "recipe.toml"
    path.write_text(toml.dumps(table))
    out = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD, str(path), str(out)]
    root = Path(__file__).resolve().parents[3]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    moment = random.Random(f"{case}{time.time_ns()}").uniform(0.02, 0.5)
    with subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE) as child:
        deadline = time.monotonic() + 60
        while len(checkpoint.checkpoints(out)) < 1 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
    killed_at = checkpoint.checkpoints(out)[-1].stem
    assert int(killed_at) < iterations, "the run ended before it was killed; make it longer"
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"
    done = subprocess.run([*command[:-1], str(whole)], env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    a, b = (load_file(folder / "checkpoints" / f"{iterations:08d}.safetensors") for folder in (out, whole))
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == [], f"killed after {killed_at}, {moment:.3f} s"
    logs = [[(e["iteration"], e["losses"]) for e in lines(folder / "log.jsonl")] for folder in (out, whole)]
    assert logs[0] == logs[1]


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, iteration: int, number: int) -> None:
    step: Callable[[Run], None] = Run.step

    def stepped(self: Run) -> None:
        step(self)
        if self.iteration == iteration:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Run, "step", stepped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_resume_goes_on_bit_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        _interrupt_at(patched, 3, number)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run")
    assert checkpoint.checkpoints(tmp_path / "run")[-1].stem == "00000003"
    assert signal.getsignal(number) == before
    assert same(trained(tmp_path / "run", resume=True), trained(tmp_path / "whole")) == []


def test_a_signal_in_the_last_iteration_finishes_the_run_and_stops_what_would_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _interrupt_at(patched, 8, signal.SIGINT)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run")
    assert (tmp_path / "run" / "weights" / "generator.safetensors").is_file()
    assert same(trained(tmp_path / "run", resume=True), trained(tmp_path / "whole")) == []


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert same(run, trained(tmp_path / "run", resume=True)) == []
    assert (tmp_path / "run" / "log.jsonl").read_text() == log


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    for path in checkpoint.checkpoints(tmp_path / "run"):
        path.unlink()
    assert same(run, trained(tmp_path / "run", resume=True)) == []
    assert [entry["iteration"] for entry in lines(tmp_path / "run" / "log.jsonl")] == [2, 4, 6, 8]


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    trained(tmp_path / "run", {"run": {"checkpoint_every": 2, "keep_checkpoints": 3}})
    assert [path.stem for path in checkpoint.checkpoints(tmp_path / "run")] == ["00000004", "00000006", "00000008"]


def test_a_stop_between_checkpoints_takes_the_place_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"run": {"checkpoint_every": 2, "keep_checkpoints": 2}}
    with monkeypatch.context() as patched:
        _interrupt_at(patched, 5, signal.SIGINT)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", settings)
    assert [path.stem for path in checkpoint.checkpoints(tmp_path / "run")] == ["00000002", "00000004", "00000005"]
    trained(tmp_path / "run", settings, resume=True)
    assert [path.stem for path in checkpoint.checkpoints(tmp_path / "run")] == ["00000006", "00000008"]


def test_a_run_without_a_checkpoint_may_begin_anew_with_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Run, "step", lambda _self: (_ for _ in ()).throw(GancoreError("a wrong setting")))
        with pytest.raises(GancoreError, match="a wrong setting"):
            trained(tmp_path / "run")
    other = {"run": {"seed": 3}}
    assert same(trained(tmp_path / "run", other, resume=True), trained(tmp_path / "whole", other)) == []
    assert "seed = 3" in (tmp_path / "run" / "recipe.toml").read_text()
    with pytest.raises(GancoreError, match="another recipe"):
        trained(tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_named_with_the_one_to_go_back_to_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "run"
    whole = trained(out, {"run": {"checkpoint_every": 4}})
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    newest = checkpoint.checkpoints(out)[-1]
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(GancoreError, match=r"00000008.safetensors is damaged .*; delete it to go on from 00000004"):
        trained(out, {"run": {"checkpoint_every": 4}}, resume=True)
    assert all(path.read_bytes() == content for path, content in before.items() if path != newest)
    newest.unlink()
    assert same(whole, trained(out, {"run": {"checkpoint_every": 4}}, resume=True)) == []


def test_a_run_opens_as_its_newest_checkpoint_left_it(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", BALANCE)
    assert same(run, open_run(tmp_path / "run", registry(), CPU)) == []


def test_a_run_knows_which_labels_to_ask_for_without_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = {
        "samplers": {"tail": {"use": "standard/long-tail", "ratio": 16}},
        "latent": {"use": "standard/normal", "labels": "data"},
    }
    expected = trained(tmp_path / "run", tail).latent(50, "some").label

    def gone(*_: Any) -> Any:
        raise GancoreError("the images are gone.")

    monkeypatch.setattr("tests.standin.data.Digits.load", gone)
    opened = open_run(tmp_path / "run", registry(), CPU)
    assert torch.equal(opened.latent(50, "some").label, expected)
    assert sample(opened, 12)[1].tolist() == [*range(10), 0, 1]
    newest = checkpoint.checkpoints(tmp_path / "run")[-1]
    tensors, header = read_tensors(newest, sealed=True)
    # A damaged table of labels gets a sentence; where there is none, the data say it.
    for change, sentence in (({"labels": {"3": "many"}}, "its labels are none of these data"), ({}, "the images are gone")):
        write_tensors(newest, tensors, {key: value for key, value in header.items() if key != "labels"} | change)
        with pytest.raises(GancoreError, match=sentence):
            sample(open_run(tmp_path / "run", registry(), CPU), 12)


def test_a_loss_that_is_no_longer_finite_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    table: dict[str, Any] = {"optimizers": {"discriminator": {"use": "sgd", "lr": 1e30}}, "run": {"checkpoint_every": 1}}
    with pytest.raises(GancoreError, match=r"the loss .*/adversarial is not finite at iteration 1; no checkpoint was written"):
        trained(tmp_path / "run", table)
    table["run"]["checkpoint_every"] = 0
    with pytest.raises(
        GancoreError, match=r"the loss .*/adversarial became (nan|inf) at iteration 2; no checkpoint was written"
    ):
        trained(tmp_path / "run", table, resume=True)
    assert checkpoint.checkpoints(tmp_path / "run") == []


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    one = trained(tmp_path / "a", {"run": {"seed": 1}})
    assert same(one, trained(tmp_path / "b", {"run": {"seed": 1}})) == []
    assert same(one, trained(tmp_path / "c", {"run": {"seed": 2}})) != []


def test_a_networks_weights_are_trained_first_when_they_are_not_there_and_found_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    classifier = tmp_path / "classifier.toml"
    classifier.write_text(
        toml.dumps(
            {
                "run": {"iterations": 3, "batch_size": 16},
                "data": {"use": "standard/digits"},
                "loop": {"use": "standard/supervised"},
                "networks": {"classifier": {"use": "standard/small-cnn"}},
                "losses": {"loss": {"use": "standard/cross-entropy"}},
            }
        )
    )
    table = merge(
        BALANCE, {"networks": {"classifier": {"use": "standard/small-cnn", "width": 0.5, "trained_by": str(classifier)}}}
    )
    table = merge(table, {"networks": {"classifier": {"inherits": ["data", "samplers"]}}})

    watchers = [Watcher(), Watcher()]
    for watcher, name in zip(watchers, "ab", strict=True):
        train(recipe_of(table), registry(), tmp_path / name, device=CPU, progress=watcher)
    assert any("networks.classifier has no weights yet: training them first" in text for text in watchers[0].told)
    assert not any("no weights yet" in text for text in watchers[1].told)
    (folder,) = (tmp_path / "cache" / "trained").iterdir()
    inner = toml.read(folder / "recipe.toml")
    assert inner["samplers"]["long_tail"]["ratio"] == 20.0
    assert inner["networks"]["classifier"]["width"] == 0.5


def test_the_default_loop_is_two_phases_written_out() -> None:
    class Recorder:
        calls: list[str]

        def __init__(self) -> None:
            self.calls = []

        def fresh(self) -> str:
            self.calls.append("fresh")
            return "batch"

        def renew(self, batch: str, number: int | None) -> str:
            self.calls.append("renew")
            return batch

        def phase(self, player: str, batch: str, pieces: int) -> None:
            self.calls.append(player)

    from tests.standin.loops import Alternating

    recorder = Recorder()
    loop: Loop = Alternating(discriminator_steps=2)
    loop.iteration(recorder)  # type: ignore[arg-type]
    assert recorder.calls == ["fresh", "discriminator", "fresh", "discriminator", "renew", "generator"]


def test_a_training_tells_evaluations_share_of_the_wall_clock_once(tmp_path: Path) -> None:
    metric = {
        "networks": {"classifier": {"use": "host/classifier"}},
        "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
    }
    recipe, watchers = recipe_of(metric), [Watcher(), Watcher()]
    for watcher in watchers:
        train(recipe, registry(), tmp_path / "run", device=CPU, resume=True, progress=watcher)
    said = r"trained [\d.]+ s, evaluation [\d.]+ s \(.* of the wall clock\), samples and checkpoints [\d.]+ s"
    assert re.fullmatch(said, watchers[0].told[-1])
    assert not any("wall clock" in text for text in watchers[1].told)


def test_a_resumed_run_computes_in_the_precision_in_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    recipe, told = recipe_of({"run": {"precision": "auto"}}), Watcher()
    for has, iterations in ((True, 4), (False, 8)):  # as where it goes on a machine of another kind
        monkeypatch.setattr(devices, "_computes_bfloat16", lambda has=has: has)
        with monkeypatch.context() as patch:
            if iterations == 4:
                step = Run.step

                def interrupted(run: Run, step: Callable[[Run], None] = step) -> None:
                    step(run)
                    if run.iteration == 4:
                        os.kill(os.getpid(), signal.SIGINT)

                patch.setattr(Run, "step", interrupted)
                with pytest.raises(Interrupted):
                    train(recipe, registry(), tmp_path / "run", device=CPU, progress=told)
            else:
                run = train(recipe, registry(), tmp_path / "run", device=CPU, resume=True, progress=told)
    assert told.told[0] == "bfloat16: the processor has instructions for it"
    assert (run.precision, run.precision_why) == ("bfloat16", "as in the checkpoint")
    assert open_run(tmp_path / "run", registry(), CPU).precision == "bfloat16"


METRIC: dict[str, Any] = {
    "networks": {"classifier": {"use": "host/classifier"}},
    "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
}


def test_an_evaluation_that_fails_costs_no_iteration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise GancoreError("too few images.")

    recipe = recipe_of(METRIC)
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "__call__", fails)
        with pytest.raises(GancoreError, match="too few images"):
            train(recipe, registry(), tmp_path / "run", device=CPU)
    assert open_run(tmp_path / "run", registry(), CPU).iteration == recipe.run.iterations
    train(recipe, registry(), tmp_path / "run", device=CPU, resume=True)
    assert (tmp_path / "run" / "weights" / "generator.safetensors").is_file()


def test_a_metric_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(GancoreError):
        train(recipe_of(METRIC, {"metrics": {"whole": {"use": "probe/whole"}}}), registry(), tmp_path / "run", device=CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("file", ["log.jsonl", "scores.jsonl"])
def test_a_log_that_cannot_be_written_gets_a_sentence(file: str, tmp_path: Path) -> None:
    train(recipe_of(METRIC), registry(), tmp_path / "run", device=CPU)
    (tmp_path / "run" / file).unlink()
    (tmp_path / "run" / file).mkdir()
    with pytest.raises(GancoreError, match="can't be written"):
        train(recipe_of(METRIC), registry(), tmp_path / "run", device=CPU, resume=True)
    with pytest.raises(GancoreError, match=f"{file} can't be written: Is a directory; free space"):
        RunFolder.append(tmp_path / "run" / file, {})
