"""Groups: several images of one label that are one sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gancore import GancoreError
from tests.hosts import plan_of, run_of

GROUPS: dict[str, Any] = {
    "samplers": {"groups": {"use": "probe/groups", "size": 3}},
    "networks": {
        "generator": {"use": "probe/group-generator"},
        "discriminator": {"use": "probe/group-discriminator"},
    },
}


def test_the_images_of_a_group_are_of_its_label_and_the_first_ones_are_those_without_groups() -> None:
    run, alone = run_of(GROUPS), run_of()
    images, labels = run.batches.selection[:2]
    batch = run.fresh()
    assert batch.real.shape == (16, 3, 1, 8, 8)
    assert torch.equal(batch.real[:, 0], alone.fresh().real)
    pixels = ((batch.real + 1) * 127.5).round().to(torch.uint8)
    places = (pixels.flatten(3)[:, :, None] == images.flatten(2)[None, None]).all(-1).all(-1).long()
    assert (places.sum(-1) == 1).all()
    members = places.argmax(-1)
    assert (labels[members] == batch.real_label[:, None]).all()
    assert all(first not in others for first, *others in members.tolist())
    assert not torch.equal(members, ((run.fresh().real + 1) * 127.5).round())


def test_flips_are_of_each_image_of_a_group() -> None:
    flipped = {"data": {"flip": True}}
    plain, mirrored = (run_of(GROUPS, table).fresh().real for table in ({}, flipped))
    same_side = (plain == mirrored).flatten(2).all(-1)
    assert torch.equal(torch.where(same_side[..., None, None, None], plain, plain.flip(-1)), mirrored)
    assert 0 < same_side[:, 1:].sum() < same_side[:, 1:].numel()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"networks": {"generator": {"use": "probe/tiny-generator"}}}, "networks.generator (probe/tiny-generator) takes one"),
        ({"networks": {"discriminator": {"use": "probe/tiny-discriminator"}}}, "networks.discriminator (probe/tiny-disc"),
        ({"losses": {"penalty": {"use": "standard/gradient-penalty"}}}, "losses.penalty (standard/gradient-penalty) takes one"),
        ({"samplers": {"noisy": {"use": "probe/noisy"}}}, "samplers.noisy (probe/noisy) takes one image a sample, and"),
        ({"attacks": {"sign": {"use": "probe/sign"}}}, "attack"),
        ({"samplers": {"more": {"use": "probe/groups", "size": 2}}}, "samplers.more (probe/groups) can't make a sample of 2"),
        ({"sources": {"other": {}}, "samplers": {"more": {"use": "probe/groups", "of": "other"}}}, "leave out `of`"),
        ({"samplers": {"groups": {"size": 0}}}, "samplers.groups (probe/groups) can't make a sample of 0 images"),
    ],
)
def test_what_takes_single_images_is_refused_beside_groups(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        plan_of(GROUPS, table)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) <= 400
