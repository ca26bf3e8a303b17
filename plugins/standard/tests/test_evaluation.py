"""An evaluation with the standard scores: of images, of the whole run, and class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.robustness import robust_accuracy
from gancore_training.evaluate import Evaluator

from gancore import GancoreError
from gancore.engine.batches import to_uint8, to_unit
from tests.compose.hosts import run_of, steps

METRICS: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {
        "classes": {"use": "standard/class-histogram", "network": "annotator"},
        "fid": {"use": "standard/fid", "network": "annotator"},
        "score": {"use": "standard/inception-score", "network": "annotator"},
    },
    "evaluation": {"samples": 130, "batch_size": 50},
}


def test_one_stream_feeds_every_metric_and_the_values_are_those_of_the_images() -> None:
    run = steps(run_of(METRICS), 2)
    calls: list[int] = []
    generator = run.generator()
    generator.register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
    scores = Evaluator(run)()
    assert calls == [50, 50, 30]
    images = []
    for start, number in ((0, 50), (50, 50), (100, 30)):
        drawn = run.latent(number, "evaluation", 0, start)
        images.append(to_unit(to_uint8(generator(drawn.z, drawn.label))))
    annotator = run.networks["annotator"]
    fake = torch.cat(images)
    counts = torch.bincount(annotator(fake).argmax(1), minlength=10)
    assert scores.values["classes/histogram"] == pytest.approx((counts / 130).tolist())
    real, _ = run.plan.dataset.load("test")
    a, b = (annotator.embed(x).detach().double().numpy() for x in (to_unit(real), fake))
    from scipy.linalg import sqrtm

    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert scores.values["fid/fid"] == pytest.approx(expected, rel=1e-4)


def test_a_metric_of_the_whole_run_is_scored_beside_those_of_images() -> None:
    robust = {"use": "standard/robust-accuracy", "attack": "fastrobgan/fgsm", "epsilons": [0.1], "samples": 30}
    head: dict[str, Any] = {
        "networks": {"generator": {"use": "standard/sndcgan-generator", "width": 0.125, "conditional": True}},
        "heads": {"classes": {"use": "standard/auxiliary-classifier"}},
        "losses": {"classes": {"use": "standard/auxiliary-classifier"}},
    }
    run = run_of(METRICS, head, {"metrics": {"robust": robust}})
    scores = Evaluator(run)()
    robustness = robust_accuracy(run, "fastrobgan/fgsm", [0.1], samples=30)
    assert scores.values["robust/accuracy_0.1"] == robustness.accuracy["0.1"]
    assert scores.values["robust/lipschitz"] == robustness.lipschitz
    assert scores.better["robust/accuracy_0.1"] == "higher"
    protocol = scores.protocols["robust"]
    assert (protocol["attack"], protocol["images"], protocol["split"]) == ("fastrobgan/fgsm", 30, "test")
    assert "samples" not in protocol
    # The other scores are those without it.
    alone = Evaluator(run_of(METRICS, head))().values
    assert alone == {name: value for name, value in scores.values.items() if not name.startswith("robust/")}
    for change, words in (({"attack": "pdg"}, "pdg"), ({"settings": {"norms": 1}}, "'norm'"), ({"classifier": "g"}, "'g'")):
        with pytest.raises(GancoreError, match=rf"^test: metrics\.robust \(standard/robust-accuracy\): .*{words}"):
            Evaluator(run_of(METRICS, head, {"metrics": {"robust": {**robust, **change}}}))


def test_a_long_tailed_runs_classes_are_scored_by_group() -> None:
    intra = {"metrics": {"intra": {"use": "standard/intra-frechet"}}, "evaluation": {"samples": 400}}
    balanced = Evaluator(run_of(METRICS, intra), ["intra"])()
    assert set(balanced.values) == {"intra/intra_frechet", "intra/by_class"}
    long_tail = {"samplers": {"long_tail": {"use": "standard/long-tail", "ratio": 20.0}}}
    run = run_of(METRICS, intra, long_tail)
    values = Evaluator(run, ["intra"])().values
    by_class = values["intra/by_class"]
    assert len(by_class) == 10
    order = sorted(range(10), key=lambda k: -run.batches.class_counts[k])
    assert values["intra/tail"] == pytest.approx(np.mean([by_class[k] for k in order[-3:]]))
    assert values["intra/medium"] == pytest.approx(np.mean([by_class[k] for k in order[3:7]]))
    few = run_of(METRICS, intra, {"evaluation": {"samples": 20}})
    with pytest.raises(GancoreError, match=r"class \d has [01] of the generated images; raise evaluation\.samples"):
        Evaluator(few, ["intra"])()
