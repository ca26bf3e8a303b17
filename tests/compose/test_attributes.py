"""The standard components on images with attributes: conditional networks, a projection head, scores and samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_standard.networks.layers import ConditionalBatchNorm2d
from gancore_training import sample
from gancore_training.evaluate import Evaluator

from gancore import GancoreError, Latents
from tests.compose.hosts import plan_of, run_of, same, steps
from tests.probe.labeled import OCCURRING

FACES: dict[str, Any] = {
    "data": {"use": "probe/faces"},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.1, "conditional": True},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.1},
        "annotator": {"use": "probe/small-classifier", "classes": 5},
    },
    "heads": {"adversarial": {"use": "standard/projection"}},
    "metrics": {"fid": {"use": "standard/fid", "network": "annotator"}, "asked": {"use": "probe/asked"}},
    "evaluation": {"samples": 400, "batch_size": 100},
}


@pytest.mark.parametrize("family", ["sndcgan", "resnet"])
def test_a_conditional_gan_on_attributes_trains_resumes_samples_and_scores(family: str) -> None:
    table = {"networks": {"generator": {"use": f"standard/{family}-generator", "width": 0.1, "conditional": True}}}
    whole, first, second = (run_of(FACES, table) for _ in range(3))
    steps(whole, 4)
    steps(first, 2)
    second.restore({name: value.detach().clone() for name, value in first.tensors().items()}, first.counters())
    assert same(whole, steps(second, 2)) == []
    scores = Evaluator(whole)()
    assert all(row in OCCURRING.tolist() for row in scores.values["asked/rows"])
    assert scores.protocols["fid"]["fake_labels"].startswith("as in the data (")
    images, labels = sample(whole, 4)
    others = whole.generate(Latents(whole.latent(4, "samples", 0).z, 1 - labels))
    assert not torch.equal(images, others.cpu())


def test_the_gain_of_attributes_is_the_sum_of_theirs() -> None:
    norm = ConditionalBatchNorm2d(6, 0, 3)
    x, label = torch.randn(4, 6, 2, 2), torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    plain = torch.nn.functional.batch_norm(x, None, None, training=True, eps=1e-4)
    gain = torch.stack([sum((norm.gain.weight[:, a] for a in range(3) if row[a]), torch.ones(6)) for row in label])
    bias = torch.stack([sum((norm.bias.weight[:, a] for a in range(3) if row[a]), torch.zeros(6)) for row in label])
    torch.testing.assert_close(norm(x, label), plain * gain[:, :, None, None] + bias[:, :, None, None])


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"heads": {"classes": {"use": "standard/auxiliary-classifier"}}}, r"heads.classes \(standard/auxiliary-classifier\)"),
        (
            {
                "losses": {"classes": {"use": "standard/auxiliary-classifier"}},
                "heads": {"classes": {"use": "probe/attribute-logits"}},
            },
            r"losses.classes \(standard/auxiliary-classifier\)",
        ),
        ({"metrics": {"fid": {"use": "standard/intra-frechet"}}}, r"metrics.fid \(standard/intra-frechet\)"),
        ({"metrics": {"cas": {"use": "standard/cas", "labels": "generator"}}}, r"metrics.cas \(standard/cas\)"),
        ({"samplers": {"tail": {"use": "standard/long-tail"}}}, r"samplers.tail \(standard/long-tail\)"),
    ],
)
def test_what_needs_classes_is_refused(table: dict[str, Any], where: str) -> None:
    with pytest.raises(GancoreError, match=rf"{where} needs the class of each image, and the data have 3 attributes"):
        plan_of(FACES, table)
