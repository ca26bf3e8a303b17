"""Observers see what happens to a run, are switched on by anybody, change nothing, and end nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gancore_training
import pytest
import torch
from click.testing import CliRunner
from gancore_training import Progress, train
from gancore_training.identity import identity
from gancore_training.observers import observing
from gancore_training.run_folder import RunFolder, checkpoints
from gancore_training.stopping import Interrupted

import gancore
from gancore import GancoreError
from gancore.cli.main import main
from gancore.engine.run import Run
from gancore.files import toml
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from gancore.registry.discovery import HOOKS
from gancore.testing import host
from tests import probe, standin
from tests.hosts import CPU, GAME, installed, merge, same

Seen = list[tuple[Any, ...]]


class Told(Progress):
    """Keeps what a training announces."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


def watching(seen: Seen, error: BaseException | None = None) -> ModuleType:
    """Return a plugin that notes what it observes, and then raises an error."""
    module = ModuleType("watching")

    def noted(*what: Any) -> None:
        seen.append(what)
        if error is not None:
            raise error

    @gancore.hookimpl
    def gancore_run_started(run: Any) -> None:
        noted("started", run.iteration, run.folder)

    @gancore.hookimpl
    def gancore_logged(run: Any, iteration: int, values: dict[str, float]) -> None:
        noted("logged", iteration, sorted(values))
        values.clear()

    @gancore.hookimpl
    def gancore_sampled(iteration: int, images: torch.Tensor) -> None:
        noted("sampled", iteration, tuple(images.shape), images.device)
        images.zero_()

    @gancore.hookimpl
    def gancore_evaluated(iteration: int, scores: dict[str, Any]) -> None:
        noted("evaluated", iteration, [*scores])
        scores.clear()

    @gancore.hookimpl
    def gancore_checkpointed(iteration: int, path: Path) -> None:
        noted("checkpointed", iteration, path.is_file())

    @gancore.hookimpl
    def gancore_run_ended(run: Any) -> None:
        noted("ended", run.iteration)

    @gancore.hookimpl
    def gancore_run_failed(run: Any, error: BaseException) -> None:
        noted("failed", run.iteration, type(error))

    vars(module).update({name: hook for name, hook in locals().items() if name.startswith("gancore_")})
    return module


def plugins_with(module: ModuleType) -> Registry:
    return Registry.of({"standard": standin, "probe": probe, "host": host, "training": gancore_training, "watching": module})


SCORED: dict[str, Any] = {
    "run": {"log_every": 4, "sample_every": 0, "checkpoint_every": 4},
    "networks": {"classifier": {"use": "host/classifier"}},
    "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
    "evaluation": {"samples": 20},
}


def trained(folder: Path, module: ModuleType, *tables: dict[str, Any], told: Told | None = None, **how: Any) -> Run:
    table = GAME
    for over in (SCORED, *tables):
        table = merge(table, over)
    plugins = plugins_with(module)
    return train(check_table(table, plugins, name="test"), plugins, folder, device=CPU, progress=told, **how)


def test_an_observer_sees_everything_once_it_has_happened(tmp_path: Path) -> None:
    seen: Seen = []
    trained(tmp_path / "run", watching(seen), observers=["watching"])
    losses = ["discriminator/adversarial", "generator/adversarial"]
    assert seen == [
        ("started", 0, tmp_path / "run"),
        ("logged", 4, losses),
        ("checkpointed", 4, True),
        ("logged", 8, losses),
        ("checkpointed", 8, True),
        ("sampled", 8, (64, 1, 8, 8), CPU),
        ("evaluated", 8, ["fid/fid"]),
        ("ended", 8),
    ]


def test_an_observer_changes_nothing_of_a_run(tmp_path: Path) -> None:
    runs = [trained(tmp_path / str(len(names)), watching([]), observers=names) for names in ([], ["watching"])]
    assert same(*runs) == []
    for name in ("log.jsonl", "scores.jsonl"):
        plain, observed = ([json.loads(line) for line in (tmp_path / n / name).read_text().splitlines()] for n in "01")
        assert [entry.get("losses", entry.get("scores")) for entry in plain] == [
            entry.get("losses", entry.get("scores")) for entry in observed
        ]
    assert (tmp_path / "0/recipe.toml").read_text() == (tmp_path / "1/recipe.toml").read_text()


def test_a_recipe_may_have_optimizers_of_torch_which_is_no_plugin(tmp_path: Path) -> None:
    seen: Seen = []
    torchs = {"optimizers": {"generator": {"use": "torch/SGD", "lr": 0.1}}}
    trained(tmp_path / "run", watching(seen), torchs, observers=["watching"])
    assert seen[-1] == ("ended", 8)


def test_nobody_observes_unasked(tmp_path: Path) -> None:
    seen: Seen = []
    trained(tmp_path / "run", watching(seen))
    assert seen == []


@pytest.mark.parametrize("error", [ConnectionError("the tracker is away"), SystemExit(3), GancoreError("no.")])
def test_an_observer_that_raises_is_told_once_for_each_hook_and_ends_nothing(error: BaseException, tmp_path: Path) -> None:
    seen: Seen = []
    told = Told()
    run = trained(tmp_path / "run", watching(seen, error), observers=["watching"], told=told)
    assert run.iteration == 8
    hooks = [what[0] for what in seen]
    assert hooks.count("logged") == 2
    lines = [line for line in told.lines if "watching" in line]
    assert len(lines) == len(set(hooks)) == 6
    assert f"the observer watching raised {type(error).__name__}" in lines[0]
    assert all(len(line) <= 400 for line in lines)


def test_what_only_shows_a_training_ends_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def monitor(_term: Any) -> dict[str, Any]:
        raise KeyError("nothing to show")

    def write(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("tests.standin.losses.Relativistic.monitor", monitor, raising=False)
    monkeypatch.setattr("tests.standin.image_format.write", write)
    told = Told()
    assert trained(tmp_path / "run", watching([]), {"run": {"sample_every": 2}}, told=told).iteration == 8
    lines = [line for line in told.lines if "raised" in line]
    assert lines == [
        "the image format png raised OSError: no space left on device in its writing of samples; the training goes on",
        "losses.adversarial raised KeyError: 'nothing to show' in its monitor; the training goes on",
    ]
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["monitors"] for entry in logged] == [{}, {}]


def test_a_second_ctrl_c_ends_an_observer_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", watching([], KeyboardInterrupt()), observers=["watching"])


def _stopping_at(iteration: int) -> Callable[[Run], None]:
    step = Run.step

    def stopping(run: Run) -> None:
        step(run)
        if run.iteration == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    return stopping


def test_an_observer_is_switched_on_for_a_run_that_goes_on_and_off_again(tmp_path: Path) -> None:
    seen: Seen = []
    module = watching(seen)
    for iteration, how in ((4, {}), (6, {"observers": ["watching"]}), (8, {})):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "step", _stopping_at(iteration))
            with contextlib.suppress(Interrupted):
                trained(tmp_path / "run", module, resume=True, **how)
        assert [int(path.stem) for path in checkpoints(tmp_path / "run")][-1] == iteration
    assert [what[:2] for what in seen] == [("started", 4), ("checkpointed", 6), ("failed", 6)]


def test_a_run_that_fails_is_seen_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_run: Run) -> None:
        raise GancoreError("no more.")

    monkeypatch.setattr(Run, "step", fails)
    seen: Seen = []
    with pytest.raises(GancoreError, match=r"no more\."):
        trained(tmp_path / "run", watching(seen, ValueError("nor the observer")), observers=["watching"])
    assert seen[-1] == ("failed", 0, GancoreError)


def test_who_observes_is_no_part_of_a_recipes_identity(tmp_path: Path) -> None:
    seen: Seen = []
    observed = {"run": {"observers": ["watching"]}}
    assert identity(merge(GAME, observed)) == identity(GAME)
    module = watching(seen)
    trained(tmp_path / "run", module, observed)
    assert seen[-1] == ("ended", 8)
    trained(tmp_path / "run", module, resume=True)
    assert len([what for what in seen if what[0] == "ended"]) == 1
    # A run's folder is opened where its tracker is not installed.
    table = toml.read(RunFolder(tmp_path / "run").recipe)
    check_table(merge(table, observed), Registry.of({"standard": standin, "probe": probe, "host": host}), name="elsewhere")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("watch", "'watch' is not installed (did you mean 'watching'?); installed are: watching."),
        ("probe", "'probe' observes nothing; installed are: watching."),
    ],
)
def test_an_observer_that_is_none_is_refused_before_anything_is_done(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(GancoreError) as refused:
        trained(tmp_path / "run", watching([]), observers=[name])
    assert text in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_broken_observer_is_refused_with_its_problem() -> None:
    module = watching([])
    module.gancore_recipes = gancore.hookimpl(lambda: 1 / 0)  # type: ignore[attr-defined]
    module.gancore_recipes.__name__ = "gancore_recipes"
    with pytest.raises(GancoreError, match=r"'watching' can't be used: .*ZeroDivisionError"):
        observing(plugins_with(module), ["watching"], ())


@pytest.mark.parametrize(
    ("words", "variable"), [(["--track", "watching"], ""), ([], "watching"), (["--set", 'run.observers=["watching"]'], "")]
)
def test_an_observer_is_named_on_the_command_line_or_in_the_environment(
    words: list[str], variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Seen = []
    (tmp_path / "game.toml").write_text(toml.dumps(GAME))
    monkeypatch.setenv("GANCORE_TRACK", variable)
    with installed(plugins_with(watching(seen))):
        done = CliRunner().invoke(main, ["train", str(tmp_path / "game.toml"), *words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert seen[-1] == ("ended", 8)


def test_every_hook_about_a_run_is_an_observers() -> None:
    about_runs = {name for name, gives in HOOKS.items() if "run" in gives}
    assert about_runs == {name for name in vars(watching([])) if name.startswith("gancore_")}


def test_plugins_that_observe_are_listed_with_what_switches_them_on() -> None:
    with installed(plugins_with(watching([]))):
        lines = CliRunner().invoke(main, ["plugins"]).output.splitlines()
    assert [line.split()[0] for line in lines if "--track" in line] == ["watching"]
    assert any(line.startswith("watching") and line.endswith("observes (--track watching)") for line in lines)
