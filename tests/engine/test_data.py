"""The index stream is a pure function, and batches are what the images say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gancore
from gancore.contract import load_split
from gancore.engine.batches import ImageStream, IndexStream, to_uint8, to_unit
from gancore.parallel.randomness import derive, noise_for
from gancore.recipe.tables import Augmentation
from tests.hosts import CPU, run_of


def test_every_image_comes_once_per_epoch_though_batches_run_across_epochs() -> None:
    stream = IndexStream(10, 4, seed=3)
    drawn = torch.cat([stream.indices(draw) for draw in range(5)])
    assert sorted(drawn[:10].tolist()) == list(range(10))
    assert sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_a_batch_larger_than_the_data_set_runs_through_several_epochs() -> None:
    drawn = IndexStream(3, 8, seed=0).indices(0)
    assert torch.bincount(drawn, minlength=3).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_a_draw_is_the_same_whatever_was_drawn_before() -> None:
    walked = IndexStream(100, 7, seed=1)
    for draw in range(60):
        walked.indices(draw)
    assert torch.equal(walked.indices(41), IndexStream(100, 7, seed=1).indices(41))
    assert not torch.equal(walked.indices(41), IndexStream(100, 7, seed=2).indices(41))


def test_a_part_of_a_batch_is_as_it_would_be_in_the_whole() -> None:
    images = torch.randint(0, 256, (20, 1, 6, 6), dtype=torch.uint8)
    augmentation = Augmentation(flip=True, crop_padding=2)
    stream = ImageStream(images, torch.arange(20), IndexStream(20, 8, seed=5), CPU, augmentation)
    whole, labels = stream.batch(3, noise_for("cpu", 0, "augmentation"))
    parts = [stream.batch(3, noise_for("cpu", 0, "augmentation"), part) for part in (slice(0, 3), slice(3, 8))]
    assert torch.equal(torch.cat([part for part, _ in parts]), whole)
    assert torch.equal(torch.cat([own for _, own in parts]), labels)


class Counted(gancore.Images):
    """Images that say their places, and note which were asked for."""

    shape = torch.Size((20, 1, 6, 6))

    def __init__(self) -> None:
        self.asked: list[int] = []

    def read(self, places: Tensor) -> Tensor:
        self.asked += places.tolist()
        return places.to(torch.uint8)[:, None, None, None].expand(-1, 1, 6, 6)


def test_images_that_are_read_by_index_come_as_from_a_tensor_and_only_when_they_are_wanted() -> None:
    images, indices = Counted(), IndexStream(20, 8, seed=5)
    stream = ImageStream(images, torch.arange(20), indices, CPU, Augmentation(flip=True, crop_padding=2))
    held = ImageStream(images[:], torch.arange(20), indices, CPU, Augmentation(flip=True, crop_padding=2))
    images.asked.clear()
    for rows in (slice(None), slice(2, 5)):
        one, other = (each.batch(3, noise_for("cpu", 0, "augmentation"), rows) for each in (stream, held))
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert images.asked == [*indices.indices(3).tolist(), *indices.indices(3)[2:5].tolist()]


def test_chosen_images_are_read_by_their_places_among_all() -> None:
    images = Counted()
    chosen = images.chosen(torch.tensor([3, 19, 7]))
    assert (len(chosen), chosen.shape, images.asked) == (3, (3, 1, 6, 6), [])
    assert chosen[torch.tensor([2, 0])][:, 0, 0, 0].tolist() == [7, 3]
    assert chosen[1:][:, 0, 5, 5].tolist() == [19, 7]
    read = chosen.reader(lambda draw: torch.tensor([draw, 0]), CPU, None)
    assert read(1)[:, 0, 0, 0].tolist() == [19, 3]
    assert images.chosen(torch.tensor([4, 5])).chosen(torch.tensor([1]))[:].unique().tolist() == [5]


def test_weights_are_the_frequency_of_each_image() -> None:
    stream = IndexStream(3, 20_000, seed=0, weights=torch.tensor([1.0, 0.0, 3.0]))
    counts = torch.bincount(stream.indices(0), minlength=3)
    assert counts[1] == 0
    assert abs(counts[2].item() / 20_000 - 0.75) < 0.02  # 6.5 standard deviations
    assert torch.equal(stream.indices(9), stream.indices(9))


def test_images_become_unit_floats_and_come_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    unit = to_unit(images)
    assert unit.min() == -1
    assert unit.max() == 1
    assert unit.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_uint8(unit), images)
    assert to_uint8(torch.tensor([-1.4, 1.2])).tolist() == [0, 255]


def test_mirroring_flips_about_half_and_cropping_shifts_within_the_padding() -> None:
    images = torch.zeros(400, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 1] = 255
    labels, every = torch.zeros(400, dtype=torch.int64), IndexStream(400, 400, seed=0)
    batch, _ = ImageStream(images, labels, every, CPU, Augmentation(flip=True)).batch(0, noise_for("cpu", 0, "x"))
    columns = (batch[:, 0, 2] == 1).float().argmax(1)
    assert set(columns.tolist()) == {1, 3}
    assert 150 < (columns == 3).sum() < 250
    batch, _ = ImageStream(images, labels, every, CPU, Augmentation(crop_padding=1)).batch(0, noise_for("cpu", 0, "x"))
    places = {divmod(int(place), 5) for place in (batch[:, 0].flatten(1) == 1).float().argmax(1)}
    assert places == {(row, column) for row in (1, 2, 3) for column in (0, 1, 2)}


def test_seeds_depend_on_every_word_of_the_purpose() -> None:
    seeds = {
        derive(0, "a", 1),
        derive(0, "a", 2),
        derive(1, "a", 1),
        derive(0, "b", 1),
        derive(0, "a1"),
        derive(0, "a", "1", 1),
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(7, "latent", 3, 0) == derive(7, "latent", 3, 0)


def test_a_sampler_may_choose_the_images_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of({"samplers": {"difference": {"use": "probe/difference"}}})
    images, labels = load_split(run.plan.dataset, "train")
    monkeypatch.setattr(run.samplers["difference"], "select", lambda labels, _seed: torch.arange(len(labels)).flip(0))
    chosen, of, _ = run.batches._select(images, labels, None, None)
    assert isinstance(images, torch.Tensor)
    assert isinstance(chosen, torch.Tensor)
    assert torch.equal(chosen, images.flip(0))
    assert torch.equal(of, labels.flip(0))
