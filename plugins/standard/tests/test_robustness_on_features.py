"""A class head of a discriminator that stands on a classifier's features, as an attack sees it."""

from __future__ import annotations

import torch
from gancore_standard.robustness import classifier_of

from tests.engine.test_sources import ON, THIRD, run_of


def test_a_class_head_on_features_is_attacked_through_the_classifier() -> None:
    table = {
        "heads": {"classes": {"use": "standard/auxiliary-classifier"}},
        "losses": {"c": {"use": "standard/auxiliary-classifier"}},
    }
    run = run_of(ON, THIRD, table, {"networks": {"classifier": {"use": "toy/dropping"}}})
    x = run.fresh().real
    with classifier_of(run, "classes") as (name, classify, modules):
        assert name == "classes"
        leaf = x.clone().requires_grad_()
        logits = classify(leaf)
        assert not any(module.training for module in modules)
        assert torch.equal(logits, classify(leaf))
        (gradient,) = torch.autograd.grad(logits.sum(), leaf)
        assert gradient.abs().max() > 0
        features = run.networks["discriminator"](run.networks["classifier"].embed(x)[:, :, None, None])
        torch.testing.assert_close(logits, run.heads["classes"](features, None))
    assert run.networks["classifier"].training
    assert run.networks["classifier"].linear.weight.requires_grad
