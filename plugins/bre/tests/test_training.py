"""The recipes, smaller: they train and resume to the last bit, and what they can't regularize is refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gancore.cli.main import main

SMALL = (
    "run.iterations=4",
    "run.batch_size=8",
    "run.log_every=2",
    "run.sample_every=0",
    "run.checkpoint_every=2",
    "run.evaluate_every=0",
    "run.keep_checkpoints=0",
    "metrics=false",
)


def train(recipe: str, out: Path, *words: str) -> Result:
    settings = [word for text in SMALL for word in ("--set", text)]
    return CliRunner().invoke(main, ["train", recipe, *settings, "--out", str(out), "--device", "cpu", *words])


def test_the_small_recipe_trains_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    assert (result := train("bre/ring", tmp_path)).exit_code == 0, result.output
    _, last = sorted((tmp_path / "checkpoints").glob("*.safetensors"))
    whole = last.read_bytes()
    last.unlink()
    assert (result := train("bre/ring", tmp_path, "--resume")).exit_code == 0, result.output
    assert last.read_bytes() == whole


def test_the_fragment_is_what_the_recipe_for_cifar10_adds_to_its_baseline(tmp_path: Path) -> None:
    other = ["--set", "data.use=standard/digits", "--set", "networks.generator.width=0.1"]
    other += ["--set", "networks.discriminator.width=0.1", "--set", "data.image_size=16"]
    runs = {"bre/cifar10": (), "bre/cifar10-dcgan": ("--with", "bre/entropy")}
    for number, (recipe, words) in enumerate(runs.items()):
        result = train(recipe, tmp_path / str(number), *other, *words)
        assert result.exit_code == 0, result.output
    one, two = ((tmp_path / str(number) / "log.jsonl").read_text() for number in range(2))
    assert "entropy_between" in one
    assert _losses(one) == _losses(two)


def _losses(log: str) -> list[str]:
    return [line[line.index('"losses"') :] for line in log.splitlines()]


@pytest.mark.parametrize(
    ("words", "sentence"), [("losses.entropy.layers=[7]", "choose a deeper"), ("losses.entropy.layers=[]", "names no")]
)
def test_layers_that_there_are_not_are_refused_before_training(words: str, sentence: str, tmp_path: Path) -> None:
    result = train("bre/ring", tmp_path / "run", "--set", words)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
    assert not list(tmp_path.glob("run/checkpoints/*"))
