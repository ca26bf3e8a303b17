"""Latents: what their numbers, labels and codes are."""

from __future__ import annotations

import pytest
import torch
from gancore_standard.latents import Mixture, Normal, Uniform


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("kind", [Normal, Uniform, Mixture])
def test_labels_are_left_to_core_uniform_for_classes_and_as_in_the_data_for_attributes(kind: type) -> None:
    assert len(kind(latent_dim=4).draw(6, noise()).label) == 0
    assert kind(latent_dim=4).labels == "uniform"
    assert kind(latent_dim=4, attributes=3).labels == "data"
    assert kind(latent_dim=4, attributes=3, labels="uniform").labels == "uniform"


def test_numbers_have_the_moments_of_their_distribution() -> None:
    normal, uniform = (kind(latent_dim=2).draw(50_000, noise()).z for kind in (Normal, Uniform))
    assert normal.std().item() == pytest.approx(1, abs=0.01)
    assert uniform.std().item() == pytest.approx(3**-0.5, abs=0.01)
    assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() <= 1


def test_each_component_of_a_mixture_is_as_frequent_as_any_other_and_says_which_it_is() -> None:
    latent = Mixture(latent_dim=2, components=4, spread=3.0, deviation=0.1)
    drawn = latent.draw(40_000, noise())
    component = drawn.codes["component"]
    assert component.dtype == torch.int64
    assert (component.bincount(minlength=4) / 40_000 - 0.25).abs().max() < 0.01
    around = drawn.z - latent.means[component]
    assert around.std().item() == pytest.approx(0.1, abs=0.002)
    assert (around.mean(0).abs() < 0.002).all()
    assert latent.means.abs().max() <= 3 < 2 * latent.means.abs().max()
    assert set(latent.state_dict()) == {"means"}
