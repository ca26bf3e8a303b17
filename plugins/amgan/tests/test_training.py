"""The small recipe, smaller: it trains and resumes to the last bit, and labels that nobody obeys are refused."""

from __future__ import annotations

import json
from pathlib import Path

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
    "networks.generator.width=0.05",
    "networks.discriminator.width=0.05",
    "networks.annotator=false",
    "metrics=false",
)


def train(out: Path, *words: str) -> Result:
    settings = [word for text in SMALL for word in ("--set", text)]
    return CliRunner().invoke(main, ["train", "amgan/digits", *settings, "--out", str(out), "--device", "cpu", *words])


def test_the_small_recipe_trains_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    result = train(tmp_path / "run")
    assert result.exit_code == 0, result.output
    first, last = sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    whole = last.read_bytes()
    last.unlink()
    again = train(tmp_path / "run", "--resume")
    assert again.exit_code == 0, again.output
    assert last.read_bytes() == whole
    assert first.read_bytes() != whole
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["iteration"] == 4


def test_predefined_labels_need_a_generator_that_obeys_them(tmp_path: Path) -> None:
    predefined = ["--set", "losses.adversarial.use=amgan/am-gan-predefined"]
    result = train(tmp_path / "one", *predefined)
    assert result.exit_code == 2
    assert "ignores" in result.output
    result = train(tmp_path / "two", *predefined, "--set", "networks.generator.conditional=true")
    assert result.exit_code == 0, result.output


def test_a_penalty_of_the_logit_that_there_is_no_longer_is_refused(tmp_path: Path) -> None:
    result = train(tmp_path / "run", "--set", "losses.penalty.use=standard/gradient-penalty")
    assert result.exit_code == 2
    assert "which nothing in this recipe provides" in result.output
