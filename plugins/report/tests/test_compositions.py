"""Compositions: what is trained, refused and broken, and what the table says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from gancore_report.compositions import Compositions, compose, method_fragments
from gancore_training.lock import holding

from gancore import GancoreError
from gancore.cli.main import main
from gancore.registry import registry

CPU = torch.device("cpu")

BASE = """
[run]
iterations = 3
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 1
sample_every = 0
[data]
use = "standard/digits"
[networks.generator]
use = "standard/mlp-generator"
hidden = 8
[networks.discriminator]
use = "standard/mlp-discriminator"
hidden = 8
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
[optimizers.generator]
use = "adam"
lr = 1e-3
[optimizers.discriminator]
use = "adam"
lr = 1e-3
[metrics.novel]
use = "dsgan/novelty"
seen = [0]
detector_iterations = 1
detector_batch_size = 8
[evaluation]
samples = 8
batch_size = 8
"""

FRAGMENTS = {
    "penalty": '[losses.penalty]\nuse = "standard/gradient-penalty"\nweight = 1.0\n',
    "square": '[losses.adversarial]\nuse = "standard/least-squares"\n',
    "logistic": '[losses.adversarial]\nuse = "standard/non-saturating"\n',
    "classes": '[losses.adversarial]\nuse = "fastrobgan/fast-loss"\n[heads.classes]\nuse = "standard/auxiliary-classifier"\n',
    "diverging": '[optimizers.discriminator]\nuse = "sgd"\nlr = 1e38\n',
}


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, str]:
    """Write the recipe and its fragments, and return their paths."""
    texts = {"base": BASE, **{name: f'summary = "Fragment: {name}"\n{text}' for name, text in FRAGMENTS.items()}}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return {name: str(tmp_path / f"{name}.toml") for name in texts}


def composed(recipes: dict[str, str], out: Path, *names: str, seeds: int = 1) -> Compositions:
    fragments = [recipes[name] for name in names]
    return compose(recipes["base"], registry(), out, fragments=fragments, seeds=seeds, device=CPU)


def outcomes(table: Compositions) -> dict[tuple[str, ...], str]:
    return {tuple(Path(name).stem for name in each.fragments): each.outcome for each in table.all}


def test_pairs_are_trained_refused_or_broken(recipes: dict[str, str], tmp_path: Path) -> None:
    table = composed(recipes, tmp_path / "out", "penalty", "square", "logistic", "diverging")
    assert outcomes(table) == {
        (): "trained",
        ("penalty",): "trained",
        ("square",): "trained",
        ("logistic",): "trained",
        ("diverging",): "broken",
        ("penalty", "square"): "trained",
        ("penalty", "logistic"): "trained",
        ("penalty", "diverging"): "broken",
        ("square", "logistic"): "refused",
        ("square", "diverging"): "broken",
        ("logistic", "diverging"): "broken",
    }
    refused = next(each for each in table.all if each.refused)
    assert "losses.adversarial.use" in refused.refused
    assert all(each.broken.startswith("seed 0: ") and not each.values for each in table.broken)
    assert [table.number(outcome) for outcome in ("trained", "refused", "broken")] == [2, 1, 3]
    written = (tmp_path / "out" / "compositions.md").read_text()
    assert written == table.markdown()
    assert "6 pairs: 2 trained, 1 refused, 3 broken." in written
    assert json.loads((tmp_path / "out" / "compositions.json").read_text())[0]["outcome"] == "trained"


def test_what_is_refused_when_it_is_built_is_refused(recipes: dict[str, str], tmp_path: Path) -> None:
    table = composed(recipes, tmp_path / "out", "penalty", "classes")
    assert outcomes(table) == {
        (): "trained",
        ("penalty",): "trained",
        ("classes",): "refused",
        ("penalty", "classes"): "refused",
    }
    assert "judges images by labels" in table.all[-1].refused


def test_a_pairs_score_is_its_own_runs(recipes: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = composed(recipes, out, "penalty", "square", seeds=2)
    assert table.score is not None
    for each in table.all:
        lines = [
            json.loads((out / f"{each.name.replace(' ', '-').replace('/', '-')}-{seed}" / "scores.jsonl").read_text())
            for seed in (0, 1)
        ]
        assert each.values == [line["scores"][table.score.name] for line in lines]
    trained = (out / "-".join([recipes["penalty"].replace("/", "-"), "+", recipes["square"].replace("/", "-")])).name
    losses = (out / f"{trained}-1" / "recipe.toml").read_text()
    assert all(word in losses for word in ("penalty", "least-squares", "seed = 1"))


def test_finished_runs_are_not_repeated(recipes: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    composed(recipes, out, "penalty")
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*") if path.is_file()}
    composed(recipes, out, "penalty", "square")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_that_another_process_has_is_left_to_it(recipes: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = out / "the-recipe-alone-0"
    with holding(other), pytest.raises(GancoreError, match=r"another process still trains 1 of the runs; .*alone-0 is in use"):
        composed(recipes, out, "penalty")
    assert [path.parent.name for path in out.glob("*/scores.jsonl")] == [f"{recipes['penalty'].replace('/', '-')}-0"]


def test_bad_input_is_refused_first(recipes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match="'no/such' needs the plugin 'no'"):
        compose(recipes["base"], registry(), tmp_path / "out", fragments=["no/such"], device=CPU)
    with pytest.raises(GancoreError, match="takes at least one seed"):
        composed(recipes, tmp_path / "out", "penalty", seeds=0)
    assert not (tmp_path / "out").exists()
    with pytest.raises(GancoreError, match="no score 'fid'"):
        compose(recipes["base"], registry(), tmp_path / "out", fragments=[recipes["penalty"]], score="fid", seeds=1, device=CPU)


def test_installed_fragments_of_methods_are_combined() -> None:
    names = method_fragments(registry())
    assert {"cbgan/class-balance", "fastrobgan/free", "dsgan/difference"} <= set(names)
    assert not {"standard/inception", "cbgan/digits-lt", "cbgan/digits-lt-cas"} & set(names)


def test_the_command_ends_with_one_where_a_pair_is_broken(recipes: dict[str, str], tmp_path: Path) -> None:
    words = ["compose", recipes["base"], "--seeds", "1", "--device", "cpu"]
    sound = CliRunner().invoke(main, [*words, "--fragment", recipes["penalty"], "--out", str(tmp_path / "sound")])
    assert sound.exit_code == 0, sound.output
    broken = CliRunner().invoke(main, [*words, "--fragment", recipes["diverging"], "--out", str(tmp_path / "broken")])
    assert broken.exit_code == 1, broken.output
    assert "0 trained, 0 refused, 0 broken" in broken.output
