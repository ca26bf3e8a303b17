"""Reading ahead: batches come in the order of their draws, whoever reads them, and what goes wrong is a sentence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.datasets import ahead as ahead_module
from gancore_standard.datasets import shared_slots
from gancore_standard.datasets.ahead import MOST_WORKERS, Ahead, workers_here
from gancore_standard.datasets.decoding import UnreadableError
from gancore_standard.datasets.pictures import Pictures
from gancore_standard.datasets.reading_processes import _requests
from gancore_standard.datasets.shared_slots import MOST_BATCHES, Slots
from torch.utils.data import get_worker_info

from gancore import GancoreError, Images

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


class Awkward(Numbered):
    """Images that no worker can read, and of which one can't be read at all, for a reason that is nobody's sentence."""

    def picture(self, place: int) -> Any:
        if get_worker_info() is not None or place == 12:
            raise ZeroDivisionError(f"place {place}")
        return super().picture(place)


def test_what_a_worker_can_not_read_the_training_reads_or_says_why_not() -> None:
    reader = Ahead(Awkward(), places, CPU, 1)
    assert first_pixels(reader(0)) == (places(0) % 251).tolist()
    with pytest.raises(ZeroDivisionError, match="place 12"):
        reader(1)
    assert first_pixels(reader(2)) == (places(2) % 251).tolist()
    reader.close()


class Points(Images):
    """What is no image of pixels, or has another shape than it says."""

    def __init__(self, shape: tuple[int, ...], kind: torch.dtype) -> None:
        self.shape = torch.Size((1000, 3, 2, 2))
        self.own, self.kind = shape, kind

    def read(self, places: torch.Tensor) -> torch.Tensor:
        return (places / 7)[:, None, None, None].expand(-1, *self.own).to(self.kind)


@pytest.mark.parametrize(
    ("shape", "kind"), [((3, 2, 2), torch.float32), ((1, 2, 2), torch.uint8), ((3, 4, 4), torch.uint8)], ids=str
)
def test_workers_change_no_type_and_no_shape(shape: tuple[int, ...], kind: torch.dtype) -> None:
    points = Points(shape, kind)
    reader = Ahead(points, places, CPU, 1)
    for draw in range(3):
        batch = reader(draw)
        assert batch.dtype == kind
        assert batch.shape == (5, *shape)
        assert torch.equal(batch, points.read(places(draw)))
    reader.close()


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


def test_batches_stay_what_they_are_for_as_long_as_somebody_keeps_views_of_them() -> None:
    reader = Ahead(Numbered(), places, CPU, 1)
    batches = [reader(draw)[1:] for draw in range(MOST_BATCHES * 6)]  # More than the slots take.
    for draw, batch in enumerate(batches):
        assert first_pixels(batch) == (places(draw)[1:] % 251).tolist()


def test_there_is_a_slot_for_every_request_of_a_training_that_keeps_its_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[bool] = []

    def lend(slots: Slots) -> Any:
        slot = lend_one(slots)
        refused.append(slot is None)
        return slot

    lend_one = Slots.lend
    monkeypatch.setattr(Slots, "lend", lend)
    reader = Ahead(Numbered(), places, CPU, 2)
    for draw in range(MOST_BATCHES * 8):
        batch = reader(draw)
    reader.close()
    assert first_pixels(batch) == (places(draw) % 251).tolist()
    assert len(refused) >= 8
    assert not any(refused)


def test_the_first_requests_differ_in_length_and_none_leaves_out_a_draw() -> None:
    slots, lent = Slots(10, torch.Size((5, 1, 2, 2))), deque[Any]()
    requests = list(islice(_requests(slots, lent, places, 4, 3), 8))
    assert [len(batches) for _, batches in requests] == [2, 4, 6, 8, 8, 8, 8, 8]
    assert [slot for slot, _ in requests] == list(range(8))
    asked = [batch.tolist() for _, batches in requests for batch in batches]
    assert asked == [places(draw).tolist() for draw in range(3, 3 + len(asked))]
    lent.popleft()
    free = slots.lend()
    assert free is not None
    assert free[0] == 0


def test_draws_need_not_be_of_one_size() -> None:
    reader = Ahead(Numbered(), lambda draw: places(0)[: 2 + draw % 4], CPU, 1)
    for draw in range(12):
        assert first_pixels(reader(draw)) == (places(0)[: 2 + draw % 4] % 251).tolist()
    reader.close()


def test_workers_begin_anew_where_there_is_no_server_to_fork_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    reader = Ahead(Numbered(), places, CPU, 1)
    for draw in range(MOST_BATCHES + 1):
        assert first_pixels(reader(draw)) == (places(draw) % 251).tolist()
    reader.close()


@pytest.mark.parametrize(("free", "batches"), [(1 << 40, MOST_BATCHES), (4 * 20 * 6, 3), (4 * 20, 1)])
def test_slots_take_what_memory_there_is(monkeypatch: pytest.MonkeyPatch, free: int, batches: int) -> None:
    monkeypatch.setattr(shared_slots, "_SHARED", Path("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    slots = Slots(4, torch.Size((5, 1, 2, 2)))
    assert slots.memory.shape == (4, batches, 5, 1, 2, 2)
    assert slots.memory.is_shared()


def test_too_little_memory_to_share_is_told_before_a_worker_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_slots, "_SHARED", Path("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=79))
    with pytest.raises(
        GancoreError, match=r"need 0 MB of memory to share \(/\), more than is free; .* run\.workers lower, or to 0\."
    ):
        Numbered().reader(places, CPU, 1)(0)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="memory is shared in another way")
def test_nothing_stays_behind_when_a_training_is_killed() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_ahead; test_ahead.read_until_killed()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        workers = [int(worker) for worker in training.stdout.readline().split()]
        assert len(workers) == 2
        training.kill()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, workers))
    assert not list(Path("/dev/shm").glob(f"torch_{training.pid}_*"))


def read_until_killed() -> None:
    """Read by two workers, say which they are, and go on."""
    reader = Ahead(Numbered(), places, CPU, 2)
    reader(0)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    for draw in count(1):
        reader(draw)


def alive(process: int) -> bool:
    """Return whether a process still runs, and is no zombie that nobody has asked after."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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

        def pin_memory(self) -> Any:
            told.append(f"pin {self.number}")
            return self

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
        copied = ["on copies", f"pin {number}", f"copy {number}", "off copies"]
        assert told == [f"read {number}", *copied, "computation waits for copies", f"computation reads {number}"]
        told.clear()
