"""The drawn shapes: a function of their settings, varied at every size, and labeled by what lies on top."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gancore_uap.shapes import KINDS, Shapes, draw
from torch.nn import functional as F

from gancore import GancoreError


def test_what_is_said_before_is_what_is_drawn():
    shapes = Shapes(image_size=16, number=30)
    images, labels = shapes.load("train")
    assert images.shape == (30, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert shapes.info.classes == len(shapes.info.class_names) == 6
    assert shapes.load("test")[0].shape == (3, 3, 16, 16)
    assert Shapes(image_size=16, number=1).load("test")[0].shape == (1, 3, 16, 16)


def test_images_are_a_function_of_their_settings():
    short, long = Shapes(number=20).load("train"), Shapes(number=25).load("train")
    assert torch.equal(short[0], long[0][:20])
    assert torch.equal(short[1], long[1][:20])
    assert not torch.equal(short[0], Shapes(number=20, seed=1).load("train")[0])
    assert not torch.equal(short[0][:2], Shapes(number=20).load("test")[0])


def test_another_size_shows_the_same_scenes():
    small, large = Shapes(image_size=16, number=20).load("train"), Shapes(image_size=64, number=20).load("train")
    assert torch.equal(small[1], large[1])
    reduced = F.avg_pool2d(large[0].float(), 4)
    own, other = (small[0].float() - reduced).abs().mean(), (small[0].float() - reduced.roll(1, 0)).abs().mean()
    assert own < 0.3 * other


def test_all_classes_occur_and_images_differ():
    images, labels = Shapes(image_size=8, channels=1, number=300).load("train")
    assert set(labels.tolist()) == set(range(len(KINDS)))
    assert len(torch.unique(images.flatten(1), dim=0)) == 300
    # Gray images of 8 px still have something to show.
    assert float(images.double().flatten(1).std(1).mean()) > 25


def test_gray_is_the_luminance_of_the_colors():
    gray, color = Shapes(channels=1, number=5).load("train")[0], Shapes(number=5).load("train")[0]
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert float(((color * weights).sum(1, keepdim=True) - gray).abs().max()) <= 1


def test_every_kind_is_drawn_in_more_than_its_ground():
    wanted = set(range(len(KINDS)))
    for seed in range(200):
        picture, label = draw(64, np.random.default_rng(seed))
        assert len(picture.getcolors(64 * 64) or []) > 2
        wanted -= {label}
    assert not wanted


def test_there_is_no_third_split():
    with pytest.raises(GancoreError, match="splits"):
        Shapes(number=2).load("val")
