"""Checkpoints: only sound ones are written, and what is not as it was written is refused with where to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import checkpoint, open_run
from gancore_training.lock import InUse, holding
from torch import Tensor

from gancore import GancoreError
from gancore.engine.run import Run
from gancore.files import read_tensors, write_tensors
from gancore.recipe.layers import merge
from plugins.training.tests.test_trainer import trained
from tests.hosts import CPU, registry

EVERY: dict[str, Any] = {"run": {"checkpoint_every": 2, "log_every": 8}}


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> None:
    """Write a checkpoint anew, with a right digest, after a change."""
    tensors, header = read_tensors(path)
    change(tensors, header)
    write_tensors(path, tensors, header)


CHANGES: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], object]] = {
    "no numbers": lambda _, header: header.pop("numbers"),
    "a number of nobody": lambda _, header: header.update(numbers={"loop/forty": 40}),
    "a missing moment": lambda tensors, _: tensors.pop("optimizer.generator/0.exp_avg"),
    "no state of an optimizer": lambda tensors, _: [tensors.pop(name) for name in [*tensors] if name.startswith("optimizer.g")],
    "a moment of whole numbers": lambda tensors, _: tensors.update(
        {"optimizer.generator/0.exp_avg": tensors["optimizer.generator/0.exp_avg"].long()}
    ),
    "a moment of no parameter": lambda tensors, header: (
        tensors.update({"optimizer.generator/99.exp_avg": torch.zeros(3)}),
        header.update(tensors=len(tensors)),
    ),
    "weights of whole numbers": lambda tensors, _: tensors.update(
        {name: value.long() for name, value in tensors.items() if name.startswith("network.generator/")}
    ),
    "a tensor of nobody": lambda tensors, header: (tensors.update(nobody=torch.zeros(1)), header.update(tensors=len(tensors))),
    "a negative iteration": lambda _, header: header.update(iteration=-4),
    "an endless draw": lambda _, header: header.update(draws=10**30),
    "a text for a number": lambda _, header: header.update(latents="many"),
    "no counter": lambda _, header: header.pop("draws"),
    "a strange precision": lambda _, header: header.update(precision=["float32"]),
    "choices of numbers": lambda _, header: header.update(choices={"profile/compile": 1}),
    "a strange format": lambda _, header: header.update(format={"a": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_no_run_wrote_is_refused_with_the_one_to_go_back_to(tmp_path: Path, change: str) -> None:
    whole = trained(tmp_path / "run", EVERY)
    newest = checkpoint.checkpoints(tmp_path / "run")[-1]
    rewritten(newest, CHANGES[change])
    with pytest.raises(GancoreError, match=r"00000008\.safetensors .*; delete it to go on from 00000006") as told:
        trained(tmp_path / "run", EVERY, resume=True)
    assert len(str(told.value).replace(str(tmp_path), "")) <= 400
    newest.unlink()
    assert [
        name
        for name, value in trained(tmp_path / "run", EVERY, resume=True).tensors().items()
        if not torch.equal(value, whole.tensors()[name])
    ] == []


def _spoiled(monkeypatch: pytest.MonkeyPatch, iteration: int, spoil: Callable[[Run], object]) -> None:
    step: Callable[[Run], None] = Run.step

    def stepped(run: Run) -> None:
        step(run)
        if run.iteration == iteration:
            with torch.no_grad():
                spoil(run)

    monkeypatch.setattr(Run, "step", stepped)


SPOILS: dict[str, tuple[Callable[[Run], object], str]] = {
    "weights": (lambda run: next(run.networks["generator"].parameters()).fill_(float("nan")), "network.generator/"),
    "an average": (lambda run: run.average and next(run.average.network.parameters()).fill_(float("inf")), "ema.generator/"),
    "a moment": (
        lambda run: run.players["discriminator"].optimizer.state_dict()["state"][0]["exp_avg_sq"].fill_(float("inf")),
        r"optimizer.discriminator/0.exp_avg_sq",
    ),
    "a loss": (lambda run: run.losses["generator/adversarial"].fill_(float("nan")), "the loss generator/adversarial"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_a_state_that_is_not_finite_takes_the_place_of_no_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    spoil, name = SPOILS[what]
    with monkeypatch.context() as patch:
        _spoiled(patch, 6, spoil)
        with pytest.raises(GancoreError, match=rf"{name}.* is not finite at iteration 6; the last checkpoint is .*00000004"):
            trained(tmp_path / "run", EVERY)
    assert [path.stem for path in checkpoint.checkpoints(tmp_path / "run")] == ["00000002", "00000004"]
    trained(tmp_path / "run", EVERY, resume=True)


@pytest.mark.parametrize("unbounded", [(), ("best",)])
def test_a_buffer_that_may_be_infinite_is_saved_so(
    unbounded: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: Callable[..., None] = Run.__init__

    def remembering(run: Run, *words: Any) -> None:
        built(run, *words)
        run.terms["adversarial"].register_buffer("best", torch.tensor(float("inf")))
        run.terms["adversarial"].unbounded = unbounded  # type: ignore[assignment]

    monkeypatch.setattr(Run, "__init__", remembering)
    if unbounded:
        trained(tmp_path / "run", EVERY)
        return
    with pytest.raises(GancoreError, match=r"loss.adversarial/best is not finite at iteration 2"):
        trained(tmp_path / "run", EVERY)


def test_a_folder_that_is_in_use_is_refused_before_anything(tmp_path: Path) -> None:
    with holding(tmp_path / "run"), pytest.raises(InUse, match="run is in use by process"):
        trained(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    trained(tmp_path / "run")
    assert not (tmp_path / "run" / "in-use").exists()


def test_who_looks_at_a_run_that_goes_on_takes_the_checkpoint_that_is_newest_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "run", merge(EVERY, {"run": {"keep_checkpoints": 0}}))
    *_, last, newest = checkpoint.checkpoints(tmp_path / "run")
    newer, read = newest.rename(tmp_path / newest.name), checkpoint.read

    def reads_late(path: Path) -> Any:
        """The training has written its next checkpoint meanwhile, and removed the one before."""
        last.unlink(missing_ok=True)
        newer.replace(newest) if newer.exists() else None
        return read(path)

    monkeypatch.setattr(checkpoint, "read", reads_late)
    assert open_run(tmp_path / "run", registry(), CPU).iteration == 8
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.raises(GancoreError, match="damaged"):
        open_run(tmp_path / "run", registry(), CPU)
