"""Sources of images in scores, in the training of what is trained first, and on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gancore_training
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_training import checkpoint, recipe_digest
from gancore_training.evaluate import Evaluator
from gancore_training.prerequisites import training_recipe, wanted

from gancore.cli import main as cli
from gancore.engine.batches import to_unit
from gancore.files import toml
from gancore.plan.load import make_plan
from gancore.plan.plan import Plan
from gancore.recipe.layers import merge
from gancore.registry import Registry
from tests.engine.test_sources import AVOID, CLASSIFIER, EXPECTATION, GAME, POINTS, REGISTRY, plan_of, refusal, run_of
from tests.hosts import installed

PLUGINS = Registry.of({**{each.name: sys.modules[each.module] for each in REGISTRY.plugins()}, "training": gancore_training})

SUPERVISED = {
    "run": {"iterations": 5, "batch_size": 8, "precision": "float32"},
    "data": {"use": "toy/coded"},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
    "loop": {"use": "standard/supervised"},
}


def trained(folder: Path, *texts: str) -> Plan:
    (folder / "first.toml").write_text(toml.dumps(SUPERVISED))
    keys = {"trained_by": str(folder / "first.toml"), "trained_with": list(texts)}
    return plan_of(CLASSIFIER, {"networks": {"classifier": keys}})


@pytest.mark.parametrize(("table", "said"), [(POINTS, "float32"), (merge(POINTS, {"data": {"use": "toy/coded"}}), "8 bit")])
def test_metrics_see_floats_where_the_data_are_floats(table: dict[str, Any], said: str) -> None:
    run = run_of(table)
    evaluator = Evaluator(run)
    scores = evaluator()
    metric: Any = evaluator.metrics["keeps"]
    fake, real = torch.cat(metric.fake), torch.cat(metric.real)
    assert scores.protocols["keeps"]["images_as"] == said
    assert fake.dtype == torch.float32
    grid = (fake + 1) * 127.5
    whole = (grid - grid.round()).abs().max() < 1e-3
    assert whole == (said == "8 bit")
    expected, _ = run.plan.dataset.load("test")
    torch.testing.assert_close(real, to_unit(expected), rtol=0, atol=0)


def test_points_may_leave_the_square_in_an_evaluation() -> None:
    run = run_of(POINTS)
    run.networks["generator"].forward = lambda z, _label: 3 * torch.ones(len(z), 2, 1, 1)
    evaluator = Evaluator(run)
    evaluator()
    metric: Any = evaluator.metrics["keeps"]
    assert (torch.cat(metric.fake) == 3).all()


def test_a_training_recipe_is_changed_by_trained_with(tmp_path: Path) -> None:
    texts = ("run.iterations=3", "optimizers.classifier.lr=0.5", "samplers.few={use='standard/per-class', count=2}")
    recipes = [training_recipe(plan, next(iter(wanted(plan)))) for plan in (trained(tmp_path), trained(tmp_path, *texts))]
    assert [recipe.run.iterations for recipe in recipes] == [5, 3]
    assert recipes[1].entries["optimizers", "classifier"].settings["lr"] == 0.5
    assert recipes[1].entries["samplers", "few"].settings["count"] == 2
    assert recipe_digest(recipes[0]) != recipe_digest(recipes[1])
    # The last word is trained_with's, even over what is inherited.
    plan = trained(tmp_path, "data.number=60")
    assert training_recipe(plan, next(iter(wanted(plan)))).entries["data", "data"].settings["number"] == 60


@pytest.mark.parametrize(
    ("given", "pieces"),
    [
        ("run.iterations", ["'run.iterations'", "KEY=VALUE"]),
        ("=3", ["'=3'", "KEY=VALUE"]),
        ("run..seed=1", ["'run..seed=1'", "KEY=VALUE"]),
        ("run.iteratoins=3", ["did you mean 'iterations'?"]),
        ("runn.iterations=3", ["did you mean 'run'?"]),
        ("run.iterations=many", ["iterations must be", "'many'"]),
        ("run=3", ["run"]),
        ("data.number.x=3", ["number"]),
    ],
)
def test_a_bad_change_of_a_training_recipe_is_refused_in_a_sentence(tmp_path: Path, given: str, pieces: list[str]) -> None:
    def work() -> None:
        plan = trained(tmp_path, given)
        make_plan(training_recipe(plan, next(iter(wanted(plan)))), REGISTRY)

    text = refusal(work)
    for piece in ["networks.classifier", *pieces]:
        assert piece in text, text
    assert "--set" not in text, text


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run a command in a folder that holds game.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    table = merge(GAME, merge(AVOID, EXPECTATION))
    (tmp_path / "game.toml").write_text(toml.dumps(merge(table, {"run": {"iterations": 4, "checkpoint_every": 2}})))
    with installed(PLUGINS):
        yield lambda *words: CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


def test_a_run_with_sources_resumes_from_its_folder(command: Callable[..., Result], tmp_path: Path) -> None:
    done = command("train", "game.toml", "--out", "run")
    assert done.exit_code == 0, done.output
    assert "[sources.avoid]" in (tmp_path / "run" / "recipe.toml").read_text()
    paths = checkpoint.checkpoints(tmp_path / "run")
    whole = paths[-1].read_bytes()
    paths[-1].unlink()
    done = command("train", tmp_path / "run" / "recipe.toml", "--out", "run", "--resume")
    assert done.exit_code == 0, done.output
    assert checkpoint.checkpoints(tmp_path / "run")[-1].read_bytes() == whole


@pytest.mark.parametrize(
    "words",
    [
        ["samplers.few={use='standard/per-class', count=999, of='avoid'}"],
        [
            "samplers.some={use='standard/take-classes', keep=[1, 2]}",
            "samplers.few={use='standard/take-classes', keep=[3], of='avoid'}",
        ],
    ],
    ids=["too few", "no such class"],
)
def test_a_source_that_can_not_be_selected_leaves_no_folder_behind(
    command: Callable[..., Result], tmp_path: Path, words: list[str]
) -> None:
    done = command("train", "game.toml", "--out", "run", *(word for text in words for word in ("--set", text)))
    assert done.exit_code == 2
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert "samplers.few" in done.output
    assert not (tmp_path / "run").exists()
