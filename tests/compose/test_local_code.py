"""The code of a file in a recipe: every command that reads it asks whether it is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_cli import run

HEAD = """
import gancore
import torch

class Flat(gancore.Head):
    def __init__(self, *, features: int):
        super().__init__()
        self.linear = torch.nn.Linear(features, 1)

    def forward(self, features, label):
        return self.linear(features).squeeze(1)
"""

SMALL = ["iterations=2", "batch_size=8", "evaluate_every=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the file of a head and a run that was trained with it."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "flat.py").write_text(HEAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sets = [word for each in SMALL for word in ("--set", f"run.{each}")]
        metrics = [word for name in ("fid", "classes", "inception_score") for word in ("--set", f"metrics.{name}=false")]
        sets += [*metrics, "--set", "networks.annotator=false", "--set", "heads.adversarial.use=./flat.py:Flat"]
        done = run("train", "standard/digits", *sets, "--out", "run", "--trust-local")
        assert done.exit_code == 0, done.output
        yield folder


@pytest.mark.parametrize(
    "words",
    [
        ["train", "run/recipe.toml", "--out", "run", "--resume"],
        ["sample", "run"],
        ["evaluate", "run", "--set", "networks.a.use=standard/small-cnn", "--set", "metrics.c.use=class-histogram"],
        ["explain", "run/recipe.toml"],
        ["walk", "run", "--n", "1", "--frames", "1"],
        ["export", "run", "--out", "exported"],
        ["attack", "run"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_runs_it_where_it_is_trusted_alone(words: list[str], folder: Path) -> None:
    refused = run(*words)
    assert refused.exit_code == 2
    assert (
        "heads.adversarial uses the head './flat.py:Flat', the code of a file, which is run where it is trusted alone"
        in refused.output
    )
    trusted = run(*words, "--trust-local")
    assert "where it is trusted alone" not in trusted.output
    # This run has no classifier to score by or to attack, which is said once its recipe was read.
    assert (trusted.exit_code == 0) is (words[0] not in ("evaluate", "attack")), trusted.output


def test_a_command_without_the_option_says_what_it_meets(folder: Path) -> None:
    refused = run("profile", "run/recipe.toml")
    assert refused.exit_code == 2
    assert (
        "'./flat.py:Flat', which is code without a plugin, which runs where --trust-local, or Python, gives it"
        in refused.output
    )
