"""Samples and scores of a generator that translates images."""

from __future__ import annotations

import torch
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample

from gancore.engine.batches import to_unit
from tests.engine.test_translate import run_of


def test_samples_are_of_the_training_images():
    run = run_of()
    images, _ = sample(run, 5)
    data = run.batches.selection[0]
    wanted = to_unit(data[torch.arange(5) * len(data) // 5]) + 0.25
    torch.testing.assert_close(images, wanted.clamp(-1, 1))


def test_images_made_in_pieces_are_those_of_the_whole():
    run = run_of()
    pieces = [run.generate(run.latent(2, "pieces", start), start=start, total=4) for start in (0, 2)]
    torch.testing.assert_close(torch.cat(pieces), sample(run, 4)[0])
    assert run.networks["generator"].training
    of_black = run.generate(run.latent(2, "pieces"), "live", images=torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    assert of_black.unique().tolist() == [-0.75]


def test_scores_are_of_the_evaluation_split():
    run = run_of()
    made = torch.cat([batch["images"] for batch in Evaluator(run)._generated()])
    data, _ = run.plan.dataset.load("test")
    wanted = (to_unit(data[torch.arange(50) * len(data) // 50]) + 0.25).clamp(-1, 1)
    assert made.shape == wanted.shape
    # Scores see 8-bit images.
    assert float((made - wanted).abs().max()) <= 1 / 255 + 1e-6
    assert Evaluator(run)().values
