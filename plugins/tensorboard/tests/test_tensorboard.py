"""What a training leaves for TensorBoard, and what becomes of a training whose tracker fails."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

import gancore_tensorboard
from gancore_tensorboard.writing import grid
from gancore_training import Interrupted, Progress, train
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from gancore.engine.run import Run
from gancore.recipe import check_table, merge
from gancore.registry import Registry
from gancore.testing import host
from tests import probe, standin
from tests.hosts import CPU, GAME

PLUGINS = Registry.of({"standard": standin, "probe": probe, "host": host, "tensorboard": gancore_tensorboard})

SCORED: dict[str, Any] = {
    "run": {"log_every": 2, "sample_every": 4, "checkpoint_every": 2, "evaluate_every": 4, "keep_checkpoints": 0},
    "networks": {"classifier": {"use": "host/classifier"}},
    "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
    "evaluation": {"samples": 20},
}


class Told(Progress):
    """Keeps what a training announces."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


def trained(folder: Path, *tables: dict[str, Any], track: bool = True, resume: bool = False) -> list[str]:
    """Train into a folder; return what was told."""
    table = merge(GAME, SCORED)
    for over in tables:
        table = merge(table, over)
    told = Told()
    recipe = check_table(table, PLUGINS, name="test")
    names = ["tensorboard"] if track else []
    train(recipe, PLUGINS, folder, device=CPU, resume=resume, progress=told, observers=names)
    return told.lines


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder: Path, name: str) -> dict[int, float]:
    return {event.step: event.value for event in events(folder).Scalars(name)}


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_losses_scores_samples_and_the_recipe_are_written_as_the_run_has_them(tmp_path: Path) -> None:
    trained(tmp_path)
    for player in ("generator", "discriminator"):
        logged = {e["iteration"]: e["losses"][f"{player}/adversarial"] for e in entries(tmp_path / "log.jsonl")}
        assert scalars(tmp_path, f"losses/{player}/adversarial") == pytest.approx(logged)
        assert sorted(logged) == [2, 4, 6, 8]
    scored = {e["iteration"]: e["scores"]["fid/fid"] for e in entries(tmp_path / "scores.jsonl")}
    assert scalars(tmp_path, "scores/fid/fid") == pytest.approx(scored)
    pictures = {event.step: event.encoded_image_string for event in events(tmp_path).Images("samples")}
    assert sorted(pictures) == [4, 8]
    assert Image.open(io.BytesIO(pictures[8])).size == (64, 64)
    (text,) = events(tmp_path).Tensors("recipe/text_summary")
    assert b"standard/relativistic" in text.tensor_proto.string_val[0]


def _stopping_at(iteration: int) -> Callable[[Run], None]:
    step = Run.step

    def stopping(run: Run) -> None:
        step(run)
        if run.iteration == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    return stopping


def test_it_is_switched_on_for_a_run_that_goes_on(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", _stopping_at(4))
        with contextlib.suppress(Interrupted):
            trained(tmp_path, track=False)
    assert not (tmp_path / "tensorboard").exists()
    trained(tmp_path, resume=True)
    assert sorted(scalars(tmp_path, "losses/generator/adversarial")) == [6, 8]


def test_what_a_resumed_run_makes_again_is_shown_once(tmp_path: Path) -> None:
    trained(tmp_path)
    before = scalars(tmp_path, "losses/generator/adversarial")
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        if int(path.stem) > 4:
            path.unlink()
    trained(tmp_path, resume=True)
    assert scalars(tmp_path, "losses/generator/adversarial") == before
    assert [event.step for event in events(tmp_path).Scalars("losses/generator/adversarial")] == [2, 4, 6, 8]


@pytest.mark.parametrize("method", ["__init__", "add_scalar", "add_image", "add_text", "flush", "close"])
def test_a_writer_that_raises_is_told_of_and_the_training_ends_well(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SummaryWriter, method, raises)
        told = trained(tmp_path)
    lines = [line for line in told if "the observer tensorboard raised OSError: no space left on device" in line]
    assert len(lines) == (2 if method == "add_scalar" else 1)
    assert [int(path.stem) for path in sorted((tmp_path / "checkpoints").glob("*"))] == [2, 4, 6, 8]
    assert (tmp_path / "weights" / "generator.safetensors").is_file()


def test_a_run_that_is_stopped_leaves_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "step", _stopping_at(5))
    with contextlib.suppress(Interrupted):
        trained(tmp_path)
    assert sorted(scalars(tmp_path, "losses/generator/adversarial")) == [2, 4]
    assert gancore_tensorboard._writers == {}


def test_events_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", _stopping_at(2))
        with contextlib.suppress(Interrupted):
            trained(tmp_path / "run", track=False)
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "elsewhere")
    told = trained(tmp_path / "run", resume=True)
    assert any("tensorboard is a link out of the run" in line for line in told)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_samples_lie_in_rows_from_black_to_white() -> None:
    images = torch.arange(10.0).view(10, 1, 1, 1).expand(-1, 3, 2, 2) / 4.5 - 1
    picture = grid(images)
    assert picture.shape == (3, 4, 16)
    assert torch.allclose(picture[0, 0, ::2], torch.arange(8) / 9)
    assert torch.allclose(picture[:, 2:, :4], torch.tensor([8 / 9, 8 / 9, 1, 1]).expand(3, 2, 4))
    assert not picture[:, 2:, 4:].any()
    assert grid(torch.full((1, 1, 1, 1), float("nan"))).tolist()[0][0][0] == 0
