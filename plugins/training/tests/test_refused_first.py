"""What can be refused at once is refused before a network that is needed first is trained, and before the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training.evaluate import Evaluator
from gancore_training.state import tensors_of
from gancore_training.trainer import train
from torch import Tensor

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.files import toml
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.hosts import BALANCE, CPU, GAME, registry, run_of
from tests.standin.metrics import ClassHistogram, MeanDistance, NeighborDistance

CLASSIFIER: dict[str, Any] = {
    "run": {"iterations": 2, "batch_size": 16},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "standard/small-cnn"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
}
SCORED: dict[str, Any] = {
    "metrics": {"m": {"use": "standard/prdc", "network": "classifier"}},
    "evaluation": {"samples": 40, "batch_size": 16},
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(tmp_path: Path, *tables: dict[str, Any], out: str = "run", first: dict[str, Any] | None = None) -> str:
    """Train a game that needs a classifier trained first, and return why it is refused."""
    path = tmp_path / "classifier.toml"
    path.write_text(toml.dumps(merge(CLASSIFIER, first or {})))
    table = merge(BALANCE, {"networks": {"classifier": {"use": "standard/small-cnn", "trained_by": str(path)}}})
    for over in (SCORED, *tables):
        table = merge(table, over)
    with pytest.raises(GancoreError) as error:
        train(check_table(merge(GAME, table), registry(), name="test"), registry(), tmp_path / out, device=CPU)
    return str(error.value)


def nothing_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training fail the test."""
    monkeypatch.setattr(Run, "step", lambda _: pytest.fail("something was trained"))


class Narrow(gancore.LossTerm):
    """A term that takes batches of another size alone."""

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        if len(fake_adversarial) != 7:
            raise GancoreError("it takes 7 images at a time.")
        return fake_adversarial.mean()


@pytest.mark.parametrize("kind", ["missing", "damaged", "of another network"])
@pytest.mark.parametrize("place", ["heads.adversarial", "networks.discriminator"])
def test_weights_that_do_not_serve(kind: str, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    nothing_was_trained(tmp_path, monkeypatch)
    path = tmp_path / "weights.safetensors"
    if kind == "damaged":
        path.write_bytes(b"no tensors")
    elif kind == "of another network":
        save_file({"other": torch.zeros(1)}, path)
    group, label = place.split(".")
    reason = refused(tmp_path, {group: {label: {"weights": str(path)}}})
    assert place in reason
    assert str(path) in reason
    assert not list(cache.rglob("*.safetensors"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", ["file/run", "x" * 300, "a/" + "x" * 300])
def test_a_folder_that_can_not_be(out: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_was_trained(tmp_path, monkeypatch)
    (tmp_path / "file").touch()
    assert "can't be written" in refused(tmp_path, out=out)
    assert not list(cache.rglob("*.safetensors"))


def test_a_cache_that_can_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_was_trained(tmp_path, monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "file" / "cache"))
    reason = refused(tmp_path)
    assert (
        reason == f"{tmp_path / 'file' / 'cache'} can't be written: Not a directory; set GANCORE_CACHE to a folder that can be."
    )
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_a_metric_needs(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_was_trained(tmp_path, monkeypatch)
    monkeypatch.setattr(NeighborDistance, "least", 41)
    sentence = "metrics.m (standard/prdc) needs at least 41 images of each kind, and evaluation.samples is 40; raise it."
    assert refused(tmp_path).endswith(sentence)
    monkeypatch.setattr(NeighborDistance, "least", 361)
    reason = refused(tmp_path, {"evaluation": {"samples": 1000}})
    assert reason.endswith("images of each kind, and the split 'test' has 360; choose another evaluation.split.")


def test_what_a_metric_refuses_of_a_batch(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(_: MeanDistance, *, features: Tensor) -> None:
        raise GancoreError(f"features of {tuple(features.shape)} do not serve.")

    for method in ("update", "update_real"):
        with monkeypatch.context() as patch:
            nothing_was_trained(tmp_path, patch)
            patch.setattr(MeanDistance, method, picky)
            assert "do not serve" in refused(tmp_path)
    assert not list(cache.rglob("*.safetensors"))


def test_what_the_first_iteration_refuses(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_was_trained(tmp_path, monkeypatch)
    monkeypatch.setattr("tests.probe.parts.Balance.generator", Narrow.generator)
    assert "it takes 7 images at a time" in refused(tmp_path)


def test_what_is_wrong_with_the_second_recipe_before_the_first_one_is_trained(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_was_trained(tmp_path, monkeypatch)
    second = tmp_path / "second.toml"
    second.write_text(toml.dumps(merge(CLASSIFIER, {"loop": {"use": "standard/alternating"}})))
    reason = refused(tmp_path, {"networks": {"judge": {"use": "standard/small-cnn", "trained_by": str(second)}}})
    assert reason.startswith(f"{second} (for networks.judge): the loop standard/alternating trains")


def test_a_rehearsal_changes_nothing() -> None:
    table = {"networks": {"classifier": {"use": "host/classifier"}}, **SCORED}
    rehearsed, plain = (Evaluator(run_of(table)) for _ in range(2))
    before = {name: value.clone() for name, value in tensors_of(rehearsed.run).items()}
    rehearsed.rehearse()
    assert all(torch.equal(before[name], value) for name, value in tensors_of(rehearsed.run).items())
    assert rehearsed().values == plain().values


def test_a_rehearsal_begins_as_an_evaluation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its author may leave it to `reset` to begin, which is called before the first image.
    monkeypatch.setattr(ClassHistogram, "__init__", lambda self, *, network="annotator": setattr(self, "network", network))
    table = {
        "networks": {"annotator": {"use": "host/classifier"}},
        "metrics": {"m": {"use": "standard/class-histogram"}},
        "evaluation": {"samples": 16, "batch_size": 8},
    }
    Evaluator(run_of(table)).rehearse()
