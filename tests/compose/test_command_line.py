"""The command line with the plugins of this repository."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gancore.cli.main import main
from plugins.training.tests.test_commands import recipe
from tests.cli.test_cli import run

__all__ = ["recipe"]


def test_train_sample_report_in_a_row(recipe: Path, tmp_path: Path) -> None:
    done = run("train", recipe)
    assert done.exit_code == 0, done.output
    assert "The run is in runs/tiny. To look at it: gancore report runs/tiny" in done.output
    done = run("sample", "runs/tiny", "--n", 6, "--classes", "3,5", "--out", "six.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "six.png").read_bytes().startswith(b"\x89PNG")
    done = run("report", "runs/tiny")
    assert done.exit_code == 0, done.output
    assert "<html" in (tmp_path / "runs" / "tiny-report.html").read_text()


def test_evaluate_appends_scores_with_their_protocol(recipe: Path, tmp_path: Path) -> None:
    metric = ["--set", "metrics.cas.use=cas", "--set", "metrics.cas.labels=generator"]
    metric += ["--set", "metrics.cas.architecture=small-cnn", "--set", "metrics.cas.classifier_iterations=2"]
    metric += ["--set", "evaluation.samples=16"]
    assert run("train", recipe, *metric).exit_code == 0
    done = run("evaluate", "runs/tiny")
    assert done.exit_code == 0, done.output
    assert re.search(r"cas/cas +0\.\d+ +\(protocol [0-9a-f]{8}\)", done.output)
    lines = (tmp_path / "runs" / "tiny" / "scores.jsonl").read_text().splitlines()
    assert len(lines) == 2
    one, two = map(json.loads, lines)
    assert one["scores"] == two["scores"]
    assert one["protocols"] == two["protocols"]


def test_show_gives_settings_documentation_and_citation() -> None:
    done = run("show", "cbgan/class-balance")
    assert done.exit_code == 0
    assert "cite: OpenReview:yEnaS6yOkxy" in done.output
    assert re.search(r"cycle +a whole number at least 1 \(default 2000\)", done.output)
    assert re.search(r"classes +a whole number.* \(given by gancore\)", done.output)
    assert "Eq. 7" in done.output
    done = run("show", "cbgan/digits-lt")
    assert "extends cbgan/digits-lt-baseline" in done.output
    assert 'use = "cbgan/class-balance"' in done.output
    assert "CBGAN" in done.output
    assert "baseline" not in done.output.split("summary")[1].split("\n")[0]


def test_show_gives_the_settings_of_functions_too() -> None:
    for name in ("standard/steps", "standard/adam"):
        assert re.search(r"\n    \w+ +(a|one|true) .*\((default .*|required)\)\n", run("show", name).output), name
    assert run("show", "profile/compile").exit_code == 0


def test_a_run_of_two_papers_names_both_wherever_it_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["cbgan/digits-lt-baseline", "--with", "fastrobgan/free", "--set", "run.iterations=1"]
    words += ["--set", "metrics=false", "--set", "networks.annotator=false"]
    cbgan, free = "OpenReview:yEnaS6yOkxy", "arXiv:2008.03364"
    done = run("explain", *words)
    assert re.search(rf"papers +{cbgan}, {free}", done.output), done.output
    assert run("train", *words, "--out", "run").exit_code == 0
    assert {cbgan, free} < set(json.loads((tmp_path / "run" / "environment.json").read_text())["cites"])
    assert "summary" not in tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert run("report", "run").exit_code == 0
    page = (tmp_path / "run-report.html").read_text()
    assert cbgan in page
    assert free in page


def test_explain_prints_the_plan_and_trains_nothing(recipe: Path, tmp_path: Path) -> None:
    done = run("explain", recipe)
    assert done.exit_code == 0
    assert "D(real + fake): one joined forward -> real_adversarial, fake_adversarial" in done.output
    assert "forwards     discriminator 2, generator 2" in done.output
    assert not (tmp_path / "runs").exists()


def test_lists_name_everything_that_is_installed() -> None:
    assert "cbgan/class-balance" in run("components", "loss").output
    assert "standard/linear" not in run("components", "loss").output
    assert "standard/linear" in run("components").output
    assert "cbgan/cifar10-100 " in run("recipes").output
    assert "Commands:" not in run("--help").output
    assert "More:" not in run("--help").output
    assert re.search(
        r"^cbgan +gancore-plugin-cbgan 0\.1\.0: 1 loss, 1 sampler, 1 network, \d+ recipes$", run("plugins").output, re.MULTILINE
    )


def test_the_help_of_every_command_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    below = {(name, sub) for name, command in commands.items() if isinstance(command, click.Group) for sub in command.commands}
    assert {("uap", "run"), ("causal", "sample")} <= below
    for words in [(), *((name,) for name in commands), *below]:
        lines = CliRunner().invoke(main, [*words, "--help"], prog_name="gancore").output.splitlines()
        assert lines[0].startswith(" ".join(["Usage: gancore", *words]))
        assert [line for line in lines if len(line) > 80] == []


def test_doctor_says_what_is_here() -> None:
    done = run("doctor")
    assert done.exit_code == 0, done.output
    for word in ("torch ", "precision", "fashion-mnist", "cbgan", "torchvision 0."):
        assert word in done.output
