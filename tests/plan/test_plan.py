"""What a phase computes is decided before any tensor exists."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gancore import GancoreError
from gancore.plan.phases import Forward, PhasePlan, plan_phase
from gancore.plan.vocabulary import vocabulary
from tests.engine.test_step import ABILITIES
from tests.hosts import BALANCE, FREE, plan_of


def phase(player: str, *tables: dict[str, Any]) -> PhasePlan:
    plan = plan_of(*tables)
    return plan_phase(plan, player, plan.terms)


def sides(planned: PhasePlan) -> list[tuple[tuple[str, ...], bool]]:
    return [(forward.sides, forward.grad) for forward in planned.forwards]


def test_the_discriminators_turn_is_one_joined_forward() -> None:
    planned = phase("discriminator")
    assert planned.forwards == (Forward(("real", "fake"), True, {"adversarial": ("real", "fake")}, False),)
    assert planned.generators == {"fake": False}


def test_the_generators_turn_keeps_a_graph_only_where_it_needs_one() -> None:
    planned = phase("generator")
    assert sides(planned) == [(("real",), False), (("fake",), True)]
    assert planned.generators == {"fake": True}


def test_an_objective_without_real_logits_never_sends_the_real_images_through_d_in_gs_turn() -> None:
    assert sides(phase("generator", {"losses": {"adversarial": {"use": "standard/hinge"}}})) == [(("fake",), True)]


@pytest.mark.parametrize(
    ("ability", "player", "expected"),
    [
        ("R1", "discriminator", [(("real",), True), (("fake",), True)]),
        ("gradient penalty", "discriminator", [(("real", "fake"), True), (("penalty:mixed",), True)]),
        ("free replay", "discriminator", [(("real", "fake"), True)]),
        ("two generators", "discriminator", [(("real", "fake", "twin"), True)]),
        ("two generators", "twin", [(("twin",), True)]),
        ("three players", "encoder", []),
        ("hidden activations", "generator", [(("real",), False), (("fake",), True)]),
    ],
)
def test_which_sides_share_a_forward(ability: str, player: str, expected: list[Any]) -> None:
    assert sides(phase(player, ABILITIES[ability])) == expected


def test_views_that_are_differentiated_become_leaves_and_no_others() -> None:
    assert phase("discriminator").leaves == frozenset()
    assert phase("discriminator", ABILITIES["R1"]).leaves == {"real"}
    assert phase("discriminator", FREE).leaves == {"real"}
    assert phase("discriminator", ABILITIES["gradient penalty"]).leaves == {"penalty:mixed"}
    assert phase("generator", FREE).leaves == frozenset()


def test_a_discriminator_with_batch_statistics_gets_real_and_fake_apart() -> None:
    table = {"networks": {"discriminator": {"use": "standard/dcgan-discriminator", "width": 0.125}}}
    assert sides(phase("discriminator", table)) == [(("real",), True), (("fake",), True)]


def test_a_frozen_classifier_carries_the_graph_to_the_generator_alone() -> None:
    (forward,) = phase("generator", BALANCE).networks
    assert (forward.network, forward.side, forward.grad, forward.embedding) == ("classifier", "fake", True, False)
    assert phase("discriminator", BALANCE).networks == ()


def test_the_vocabulary_names_what_the_recipe_provides() -> None:
    names = vocabulary(plan_of(BALANCE))
    for name in ("real_adversarial", "fake_view", "fake_classifier", "real_classifier_features", "z", "fake_activations"):
        assert name in names
    assert "fake_classes" not in names


def test_a_sampler_that_joins_where_nothing_is_generated_is_told_so() -> None:
    classifier = {
        "data": {"use": "standard/digits"},
        "loop": {"use": "standard/supervised"},
        "networks": {"classifier": {"use": "standard/small-cnn"}},
        "losses": {"loss": {"use": "standard/cross-entropy"}},
        "samplers": {"difference": {"use": "probe/difference"}},
    }
    with pytest.raises(GancoreError, match=r"joins the side 'fake', which is not there without a generator"):
        plan_of(base=classifier)


def test_a_component_that_cannot_be_built_is_one_sentence_without_its_librarys_frames() -> None:
    """Errors of torch go on for pages, with frames of its C++."""

    def refuse(**_: Any) -> None:
        raise RuntimeError("it is too large\nframe #0: in some library\n" + "frame\n" * 100)

    def exhaust(**_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    planned = attrs.evolve(plan_of().networks["generator"], cls=exhaust)  # type: ignore[arg-type]
    with pytest.raises(
        GancoreError, match=r"can't be built: there is not the memory .*; lower the batch size or other sizes\.$"
    ):
        planned.build({})
    planned = attrs.evolve(plan_of().networks["generator"], cls=refuse)  # type: ignore[arg-type]
    with pytest.raises(GancoreError, match=r"^test: networks\.generator \(.*\) can't be built: it is too large$"):
        planned.build({})
