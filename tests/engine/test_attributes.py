"""Images with attributes in place of a class: through training, samples and scores, or refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from gancore import GancoreError
from tests.hosts import run_of, steps
from tests.probe.labeled import OCCURRING

FACES: dict[str, Any] = {
    "data": {"use": "probe/faces"},
    "networks": {"generator": {"use": "probe/attribute-generator"}},
    "heads": {"adversarial": {"use": "probe/attribute-head"}, "said": {"use": "probe/attribute-logits"}},
    "losses": {"said": {"use": "probe/attribute-loss"}},
    "metrics": {"asked": {"use": "probe/asked"}},
    "evaluation": {"samples": 2000, "batch_size": 500},
}
AS_THE_DATA: dict[str, Any] = {"latent": {"use": "standard/normal", "labels": "data"}}
CAUSAL: dict[str, Any] = {
    "latent": {"use": "probe/causal"},
    "networks": {"causal": {"use": "probe/causal-model"}},
    "losses": {"cause": {"use": "probe/cause-loss"}},
}


def test_labels_of_the_data_and_of_joined_images_reach_terms_and_heads() -> None:
    joined = {"samplers": {"difference": {"use": "probe/difference"}}}
    run = run_of(FACES, joined)
    heads: list[tuple[int, ...]] = []
    run.heads["adversarial"].register_forward_pre_hook(lambda _, arguments: heads.append(tuple(arguments[1].shape)))
    batch = run.fresh()
    assert {tuple(row) for row in batch.real_label.tolist()} <= {tuple(row) for row in OCCURRING.tolist()}
    steps(run, 1)
    assert heads[0] == (32, 3)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"samplers": {"few": {"use": "standard/per-class", "count": 2}}}, "samplers.few (standard/per-class) needs the class"),
        ({"samplers": {"some": {"use": "standard/take-classes", "keep": [1]}}}, "samplers.some (standard/take-classes) needs"),
        ({"samplers": {"even": {"use": "standard/class-balanced"}}}, "samplers.even (standard/class-balanced) needs the class"),
        ({"heads": {"adversarial": {"use": "standard/projection"}}}, "heads.adversarial (standard/projection) needs the class"),
        ({"networks": {"annotator": {"use": "host/classifier"}}}, "networks.annotator (host/classifier) needs the class of"),
        ({"losses": {"labels": {"use": "probe/class-loss"}}}, "losses.labels (probe/class-loss) needs the class of each image"),
        ({"latent": {"use": "probe/mixture"}}, "latent (probe/mixture) needs the class of each image, and the data have 3"),
        ({"latent": {"use": "probe/every-class"}}, "latent (probe/every-class) needs the class of each image"),
        ({"data": {"wrong": "both"}}, "must have classes or attributes, and not both"),
        ({"data": {"wrong": "narrow"}}, "has labels of shape (96, 2) and type torch.int64, not (96, 3)"),
        ({"data": {"wrong": "twos"}}, "has a label of 2, not from 0 to 1"),
        (
            {"sources": {"digits": {"use": "standard/digits"}}},
            "has 0 attributes, and the data have 3; choose a set of the same",
        ),
        ({"latent": {"use": "probe/causal"}}, "reads the network 'causal', which is no frozen one; add [networks.causal]"),
        ({"latent": {"use": "probe/causal", "network": "generator"}}, "reads the network 'generator', which is no frozen one"),
        (
            {"latent": {"use": "probe/short"}},
            "draws z (15,), label (16,) torch.int64 for 16 images; it must draw z (16,), label (16, 3)",
        ),
    ],
)
def test_what_needs_classes_gets_a_sentence(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        steps(run_of(FACES, table), 1)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) <= 400
