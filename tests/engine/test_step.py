"""The step: one forward, one backward, one step; weights that agree with plain PyTorch; nothing that waits for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from gancore_testing.checks import NoSynchronization, gradients_elsewhere
from torch import Tensor, nn

from tests.hosts import BALANCE, FREE, run_of, same, steps

GRADIENT_PENALTY: dict[str, Any] = {"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}
R1: dict[str, Any] = {"losses": {"penalty": {"use": "probe/r1"}}}
SIGN: dict[str, Any] = {"attacks": {"sign": {"use": "probe/sign"}}}
DIFFERENCE: dict[str, Any] = {"samplers": {"difference": {"use": "probe/difference"}}}
PAIRS: dict[str, Any] = {
    "samplers": {"pairs": {"use": "probe/pairs"}},
    "networks": {"generator": {"copies": 2}, "discriminator": {"copies": 2}},
}
THREE: dict[str, Any] = {
    "loop": {"use": "probe/three"},
    "networks": {"encoder": {"use": "probe/encoder"}},
    "losses": {"invert": {"use": "probe/invert"}},
}
TWO_GENERATORS: dict[str, Any] = {
    "loop": {"use": "probe/two-generators"},
    "networks": {"twin": {"use": "probe/tiny-generator"}},
    "losses": {"twin": {"use": "probe/twin"}},
}
ABILITIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "class balance": BALANCE,
    "free replay": FREE,
    "free replay and R1": {**FREE, **R1},
    "attack with own gradient": SIGN,
    "joined images": DIFFERENCE,
    "gradient penalty": GRADIENT_PENALTY,
    "R1": R1,
    "hidden activations": {"losses": {"smooth": {"use": "probe/smooth"}}},
    "three players": THREE,
    "two generators": TWO_GENERATORS,
    "projection of D by a term": {"losses": {"clip": {"use": "probe/clip"}}},
    "projection of G by itself": {"networks": {"generator": {"use": "probe/bounded-generator"}}},
    "pairs as samples": PAIRS,
    "measurement before D": {"samplers": {"dim": {"use": "probe/dim"}}},
    "dropout in D": {"networks": {"discriminator": {"dropout": 0.5}}},
    "a term now and then": {"losses": {"now": {"use": "probe/nothing", "every": 2, "start": 1, "stop": 4}}},
    "bfloat16": {"run": {"precision": "bfloat16"}, **BALANCE},
    "uniform latent": {"latent": {"use": "standard/uniform"}},
    "augmentation": {"data": {"flip": True, "crop_padding": 1}},
}


@pytest.mark.parametrize("table", ABILITIES.values(), ids=ABILITIES)
def test_each_ability_trains(table: dict[str, Any]) -> None:
    whole = steps(run_of(table), 6)
    assert all(value.isfinite() for value in whole.losses.values())
    untrained = run_of(table)
    for player in whole.players:
        pairs = zip(whole.players[player].parameters, untrained.players[player].parameters, strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), f"the {player} has not moved"


@pytest.mark.parametrize("table", ABILITIES.values(), ids=ABILITIES)
def test_an_iteration_never_waits_for_the_device(table: dict[str, Any]) -> None:
    run = steps(run_of(table), 1)
    with NoSynchronization():
        run.step()


@pytest.mark.parametrize("table", ABILITIES.values(), ids=ABILITIES)
def test_a_turn_leaves_gradients_on_its_own_player_only(table: dict[str, Any]) -> None:
    assert gradients_elsewhere(run_of(table)) == []


def _counted(table: dict[str, Any]) -> Counter[str]:
    run = steps(run_of(table), 1)
    counts: Counter[str] = Counter()

    def count(name: str) -> Any:
        return lambda *_: counts.update([name])

    for name, network in run.networks.items():
        network.register_forward_hook(count(name))
    backward = Tensor.backward
    Tensor.backward = lambda self, *a, **k: (counts.update(["backward"]), backward(self, *a, **k))[1]  # type: ignore[method-assign]
    try:
        run.step()
    finally:
        Tensor.backward = backward  # type: ignore[method-assign]
    return counts


@pytest.mark.parametrize(
    ("ability", "expected"),
    [
        ("plain", {"generator": 2, "discriminator": 3, "backward": 2}),
        ("class balance", {"generator": 2, "discriminator": 3, "classifier": 1, "backward": 2}),
        # Two replays share one generated batch; each costs D one forward and one backward.
        ("free replay", {"generator": 2, "discriminator": 4, "backward": 3}),
        # Two signed steps of the attack, and the turn itself.
        ("attack with own gradient", {"generator": 2, "discriminator": 6, "backward": 2}),
        ("gradient penalty", {"generator": 2, "discriminator": 4, "backward": 2}),
        ("three players", {"generator": 2, "discriminator": 3, "encoder": 2, "backward": 3}),
    ],
)
def test_what_several_parts_need_is_computed_once(ability: str, expected: dict[str, int]) -> None:
    assert dict(_counted(ABILITIES[ability])) == expected


def test_weight_zero_is_the_same_as_absent_bit_for_bit() -> None:
    zero = {"losses": {"balance": {**BALANCE["losses"]["balance"], "weight": 0.0}, "penalty": {"use": "probe/r1", "weight": 0}}}
    networks = {"networks": BALANCE["networks"]}
    assert same(steps(run_of(networks), 4), steps(run_of(networks, zero), 4)) == []


def test_the_order_of_the_recipe_does_not_matter() -> None:
    losses = {"b": {"use": "probe/nothing", "weight": 0.3}, "a": {"use": "probe/r1", "weight": 0.7}}
    backwards = dict(reversed(losses.items()))
    assert same(steps(run_of({"losses": losses}), 4), steps(run_of({"losses": backwards}), 4)) == []


def test_adding_a_part_leaves_the_draws_of_the_others_alone() -> None:
    plain, composed = run_of(), run_of(BALANCE | {"samplers": {}})
    assert all(name.startswith("loss.balance") for name in same(plain, composed))
    a, b = plain.fresh(), composed.fresh()
    assert torch.equal(a.real, b.real)
    assert a.z is not None
    assert b.z is not None
    assert torch.equal(a.z, b.z)


def test_a_term_takes_part_only_when_it_is_its_turn() -> None:
    run = run_of(ABILITIES["a term now and then"])
    active = []
    for _ in range(6):
        run.losses.clear()
        run.step()
        active.append(any(name.endswith("/now") for name in run.losses))
    assert active == [False, True, False, True, False, False]


def test_a_projection_holds_after_every_step() -> None:
    run = steps(run_of(ABILITIES["projection of D by a term"]), 3)
    assert max(p.abs().max().item() for p in run.players["discriminator"].parameters) <= 0.05 + 1e-8
    run = steps(run_of(ABILITIES["projection of G by itself"]), 3)
    assert run.networks["generator"].linear.weight.abs().max().item() <= 0.01 + 1e-8


def test_joined_images_replace_generated_ones_so_that_the_fake_batch_keeps_its_size() -> None:
    seen: list[int] = []
    run = run_of(DIFFERENCE)
    run.networks["discriminator"].register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    made: list[int] = []
    run.networks["generator"].register_forward_hook(lambda _m, inputs, _o: made.append(len(inputs[0])))
    run.step()
    assert seen == [32, 16, 16]  # the discriminator's joined batch, then real and fake in the generator's turn
    assert made == [16, 16]  # the same rows in both turns, of which the discriminator sees 12 in its own


def test_an_attack_leaves_modes_statistics_and_gradients_as_it_found_them() -> None:
    table = {"networks": {"discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.125}}}
    run = steps(run_of(SIGN, table), 1)
    discriminator = run.networks["discriminator"]
    before = {name: value.clone() for name, value in discriminator.named_buffers()}
    batch = run.fresh()
    run.phase("generator", batch)
    power_iterations = {name: value.clone() for name, value in discriminator.named_buffers()}
    run.phase("discriminator", batch)
    assert all(module.training for module in discriminator.modules())
    assert any(not torch.equal(before[name], power_iterations[name]) for name in before)


def test_batch_norm_in_d_must_be_declared() -> None:
    from gancore import GancoreError
    from tests.probe import parts

    class Undeclared(parts.TinyDiscriminator):
        def __init__(self, *, channels: int, image_size: int) -> None:
            super().__init__(channels=channels, image_size=image_size)
            self.norm = nn.BatchNorm1d(16)

    parts.Undeclared = Undeclared  # type: ignore[attr-defined]
    try:
        with pytest.raises(GancoreError, match="batch_statistics"):
            run_of({"networks": {"discriminator": {"use": "probe/undeclared"}}})
    finally:
        del parts.Undeclared  # type: ignore[attr-defined]


def test_bfloat16_stays_close_to_float32_and_keeps_float32_weights() -> None:
    low, full = (steps(run_of({"run": {"precision": p}}), 3) for p in ("bfloat16", "float32"))
    for a, b in zip(low.players["generator"].parameters, full.players["generator"].parameters, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.02)
