"""Reading ahead: batches come in the order of their draws, whoever reads them, and what goes wrong is a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.datasets import ahead as ahead_module
from gancore_standard.datasets.ahead import MOST_WORKERS, Ahead, workers_here
from gancore_standard.datasets.decoding import UnreadableError
from gancore_standard.datasets.pictures import Pictures

from gancore import GancoreError

CPU = torch.device("cpu")


class Numbered(Pictures):
    """Images that say their places; one can't be read, and one ends whoever reads it."""

    shape = torch.Size((1000, 1, 2, 2))

    def __init__(self, broken: int = -1, deadly: int = -1) -> None:
        self.broken, self.deadly = broken, deadly

    def picture(self, place: int) -> Any:
        if place == self.broken:
            raise UnreadableError(f"{place}.png", "it is broken")
        if place == self.deadly:
            os._exit(3)
        return np.full((1, 2, 2), place % 251, dtype=np.uint8)


def places(draw: int) -> torch.Tensor:
    return (torch.arange(5) * 7 + 5 * draw) % 1000


@pytest.fixture
def ahead(request: pytest.FixtureRequest) -> Iterator[Ahead]:
    reader = Numbered().reader(places, CPU, request.param)
    assert isinstance(reader, Ahead)
    yield reader
    reader.close()


def first_pixels(images: torch.Tensor) -> list[int]:
    assert images.shape[1:] == (1, 2, 2)
    assert images.dtype == torch.uint8
    pixels: list[int] = images[:, 0, 1, 1].tolist()
    return pixels


@pytest.mark.parametrize("ahead", [0, 1, 3], indirect=True)
def test_a_draw_gives_its_own_images_whatever_was_drawn_before(ahead: Ahead) -> None:
    torch.manual_seed(5)
    for draw in (0, 1, 2, 7, 8, 3, 3, 4):
        assert first_pixels(ahead(draw)) == (places(draw) % 251).tolist()
    drawn = torch.rand(1)
    assert torch.equal(drawn, torch.rand(1, generator=torch.Generator().manual_seed(5)))
    assert ahead.waited > 0


def test_images_are_read_in_any_order_and_some_twice() -> None:
    assert first_pixels(Numbered()[torch.tensor([9, 3, 3, 250])]) == [9, 3, 3, 250]
    assert first_pixels(Numbered()[990::4]) == [990 % 251, 994 % 251, 998 % 251]
    assert len(Numbered()[torch.tensor([], dtype=torch.int64)]) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_can_not_be_read_is_named(workers: int) -> None:
    reader = Numbered(broken=12).reader(places, CPU, workers)
    assert first_pixels(reader(0))
    with pytest.raises(GancoreError, match=r"The image 12.png can't be read \(it is broken\); remove or replace the file."):
        reader(1)


def test_a_worker_that_dies_is_told() -> None:
    reader = Numbered(deadly=5).reader(places, CPU, 1)
    with pytest.raises(GancoreError, match=r"A process that reads images has ended .* set run.workers lower, or to 0\.") as it:
        reader(1)
    assert len(str(it.value)) <= 400


FAILING = """
import sys
import torch
from test_ahead import CPU, Numbered, places

reader = Numbered(**{sys.argv[1]: 47}).reader(places, CPU, 2)
for draw in range(9):
    reader(draw)
"""


@pytest.mark.parametrize(("fault", "said"), [("broken", "The image 47.png can't"), ("deadly", "A process that reads images")])
def test_a_program_that_ends_by_an_image_ends_its_workers(fault: str, said: str) -> None:
    words = [sys.executable, "-c", FAILING, fault]
    ended = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr.splitlines()[-1]


def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert workers_here() == 6
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers_here() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert workers_here() == MOST_WORKERS


def test_a_batch_for_a_gpu_is_waited_for_and_marked_and_no_other_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins that write down what is asked of a GPU."""
    told: list[str] = []

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = name

        def __enter__(self) -> None:
            told.append(f"on {self.name}")

        def __exit__(self, *_: object) -> None:
            told.append(f"off {self.name}")

        def wait_stream(self, other: Any) -> None:
            told.append(f"{self.name} waits for {other.name}")

    class Batch:
        def __init__(self, number: int) -> None:
            self.number = number

        def to(self, device: torch.device, *, non_blocking: bool) -> Any:
            assert device.type == "cuda"
            assert non_blocking
            told.append(f"copy {self.number}")
            return self

        def record_stream(self, stream: Any) -> None:
            told.append(f"{stream.name} reads {self.number}")

    def read() -> Iterator[Any]:
        for number in range(2):
            told.append(f"read {number}")
            yield Batch(number)

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream("copies"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream("computation"))
    batches = ahead_module._on_device(read(), torch.device("cuda"))
    for number in range(2):
        next(batches)
        copied = ["on copies", f"copy {number}", "off copies"]
        assert told == [f"read {number}", *copied, "computation waits for copies", f"computation reads {number}"]
        told.clear()
