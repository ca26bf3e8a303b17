"""What metrics know of the real images is kept by content, and made again where anything that it depends on is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import evaluate as evaluation
from gancore_training.evaluate import Evaluator
from safetensors.torch import load_file, save_file

from gancore.engine.run import Run
from tests.hosts import run_of

METRICS: dict[str, Any] = {
    "networks": {"classifier": {"use": "standard/small-cnn", "trained_by": "unused"}},
    "evaluation": {"samples": 60, "split": "test"},
    "metrics": {
        label: {"use": f"standard/{use}", "network": "classifier"}
        for label, use in (("fid", "fid"), ("kid", "kid"), ("prdc", "prdc"), ("classes", "class-histogram"))
    },
}


def made(tmp_path: Path, *tables: dict[str, Any], seed: int = 0) -> Run:
    torch.manual_seed(seed)
    weights = tmp_path / f"classifier-{seed}.safetensors"
    if not weights.exists():
        from gancore.files.tensors import write_tensors
        from tests.standin.networks import SmallCNN

        write_tensors(weights, SmallCNN(channels=1, image_size=8, classes=10).state_dict(), {})
    return run_of(METRICS, {"networks": {"classifier": {"weights": str(weights)}}}, *tables)


def seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], int]:
    """Return a run's scores, and how many batches of real images they took."""
    batches = 0
    original = Evaluator._real_batches

    def counted(self: Evaluator, *real: torch.Tensor) -> Any:
        nonlocal batches
        for batch in original(self, *real):
            batches += 1
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_real_batches", counted)
        return Evaluator(run)().values, batches


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluation, "WORTH_KEEPING", 0.0)
    return tmp_path / "cache" / "real"


def test_a_later_run_finds_the_statistics_and_scores_to_the_last_bit_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first, batches = seen(made(tmp_path), monkeypatch)
    assert batches > 0
    assert len(list(cache.iterdir())) == 3
    assert seen(made(tmp_path), monkeypatch) == (first, 0)


def test_other_images_another_network_and_other_settings_are_not_confused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batches = seen(made(tmp_path), monkeypatch)
    for run in (made(tmp_path, {"evaluation": {"split": "train"}}), made(tmp_path, seed=1)):
        assert seen(run, monkeypatch)[1] > 0
    run = made(tmp_path)
    images, labels = run.plan.dataset.load("test")
    changed = images.clone()
    changed[7, 0, 3, 3] ^= 1
    monkeypatch.setattr(run.plan.dataset, "load", lambda *_: (changed, labels))
    assert seen(run, monkeypatch)[1] == batches
    # The same weights see something else through another normalization of the input.
    shifted = {"networks": {"classifier": {"input_mean": [0.1], "input_std": [0.5]}}}
    assert seen(made(tmp_path, shifted), monkeypatch)[1] == batches
    # One metric's settings make that one's statistics alone unknown; the images are then read once more.
    other = made(tmp_path, {"metrics": {"prdc": {"neighbors": 3}}})
    assert seen(other, monkeypatch)[1] == batches


def test_a_damaged_file_is_made_again_and_a_folder_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first, batches = seen(made(tmp_path), monkeypatch)
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert seen(made(tmp_path), monkeypatch) == (first, batches)
    assert seen(made(tmp_path), monkeypatch) == (first, 0)
    for path in cache.iterdir():
        # A bit is another one, and no digest says so.
        tensors = load_file(path)
        tensors = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        save_file(tensors, path)
    assert seen(made(tmp_path), monkeypatch) == (first, batches)
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    cache.write_text("a file where the folder would be")
    assert seen(made(tmp_path), monkeypatch) == (first, batches)


def test_nothing_is_kept_of_what_is_quickly_seen_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(evaluation, "WORTH_KEEPING", 3600.0)
    seen(made(tmp_path), monkeypatch)
    assert not cache.exists()
