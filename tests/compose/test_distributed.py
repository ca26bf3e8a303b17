"""Several processes compute what one does with the components of plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancore.files.tensors import read_tensors
from tests.compose.hosts import run_of
from tests.compose.processes import CASES
from tests.parallel.test_distributed import differences, finished, start
from tests.processes import outcome


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outcome of every case in two processes."""
    folder = tmp_path_factory.mktemp("two")
    for status, _, errors in finished(start(["tests.compose.processes", str(folder)], 2, folder)):
        assert status == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_compute_what_one_does(case: str, by_two: Path) -> None:
    tensors, _ = read_tensors(by_two / f"{case}.safetensors")
    assert differences(outcome(run_of(base=CASES[case])), tensors, 2e-4) == {}


RECIPE = """
[run]
iterations = 2
batch_size = 8
latent_dim = 4
precision = "float32"
[data]
use = "standard/digits"
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.05
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.05
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
"""


@pytest.mark.parametrize("words", [["ablate", "RECIPE"], ["attack", "RUN"]])
def test_what_runs_in_one_process_says_so(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    paths = {"RECIPE": str(tmp_path / "recipe.toml"), "RUN": str(tmp_path / "run")}
    if "RUN" in words:
        train = ["gancore", "train", paths["RECIPE"], "--out", paths["RUN"]]
        assert finished(start(train, 1, tmp_path))[0][0] == 0
    ended = finished(start(["gancore", *(paths.get(word, word) for word in words)], 2, tmp_path))
    assert [status for status, _, _ in ended] == [2, 2]
    assert "".join(errors for _, _, errors in ended).count("start it without torchrun") == 1
