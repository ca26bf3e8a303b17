"""Update rules: what they remember is saved, restored, and shared by processes; each run has one of its own."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch

import gancore
from gancore import GancoreError
from gancore.engine import Run
from tests.hosts import CPU, plan_of, run_of, same, state_of, steps
from tests.probe.parts import Lookahead

LOOKAHEAD: dict[str, Any] = {"loop": {"use": "probe/lookahead", "k": 3}}


def test_lookahead_goes_back_towards_its_slow_weights() -> None:
    run, plain = run_of(LOOKAHEAD), run_of()
    start = run.players["generator"].parameters[0].detach().clone()
    steps(run, 2)
    fast = steps(plain, 2).players["generator"].parameters[0]
    assert torch.equal(run.players["generator"].parameters[0], fast)
    steps(run, 1)
    fast = steps(plain, 1).players["generator"].parameters[0]
    assert torch.equal(run.players["generator"].parameters[0], start.lerp(fast, 0.5))


def test_slow_weights_are_those_that_data_have_set() -> None:
    standardizing = {"networks": {"discriminator": {"use": "probe/standardizing"}}}
    run, plain = run_of(LOOKAHEAD, standardizing), run_of(standardizing)
    steps(run, 1)
    plain.parts.initialize(plain)
    slow = run.modules()["loop"].state_dict()
    for number, parameter in enumerate(plain.players["discriminator"].parameters):
        assert torch.equal(slow[f"discriminator_{number}"], parameter)


def test_a_loop_without_state_leaves_no_trace_in_a_checkpoint() -> None:
    assert [name for name in state_of(run_of()) if name.startswith("loop")] == []


def test_runs_of_one_plan_share_no_loop() -> None:
    plan = plan_of(LOOKAHEAD)
    first, second = Run(plan, CPU), Run(plan, CPU)
    steps(first, 3)
    assert int(second.modules()["loop"].done) == 0
    assert same(first, steps(second, 3)) == []


class Unready(Lookahead):
    """Says nothing to its base class before it remembers."""

    def __init__(self) -> None:
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.k, self.alpha = 2, 0.5


class Random(gancore.Loop):
    """Starts from a drawn number."""

    def __init__(self) -> None:
        self.register_buffer("start", torch.rand(()))


def test_a_loop_is_a_module_whether_or_not_its_constructor_says_so() -> None:
    assert list(Unready().state_dict()) == ["done"]


def test_what_a_loop_draws_is_a_function_of_the_seed() -> None:
    plan = plan_of()
    drawing = attrs.evolve(plan, loop=attrs.evolve(plan.loop, cls=Random))
    one, two = (Run(drawing, CPU) for _ in range(2))
    assert torch.equal(one.modules()["loop"].start, two.modules()["loop"].start)


# -- turns in pieces ---------------------------------------------------------------------------------------------------

SGD: dict[str, Any] = {"use": "sgd", "lr": 0.05, "momentum": 0.9}
EXACT: dict[str, Any] = {"optimizers": {"generator": SGD, "discriminator": SGD}}
SPECTRAL: dict[str, Any] = {
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.2},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.2},
    }
}
OF_D: dict[str, Any] = {"use": "of D"}
"""Stands for `PiecesOfD`, which no plugin declares."""

GAMES: dict[str, dict[str, Any]] = {
    "pairs": {},
    "spectral norm": SPECTRAL,
    "gradients": {"losses": {"adversarial": {"use": "standard/hinge"}, "r1": {"use": "probe/r1"}}},
    "labels": {
        "networks": {"generator": {"use": "standard/sndcgan-generator", "width": 0.2, "conditional": True}},
        "heads": {"adversarial": {"use": "standard/projection"}},
    },
    "steps of D": {"loop": {"discriminator_steps": 2}},
    "a side": {
        "sources": {"other": {}},
        "losses": {
            "adversarial": {"use": "standard/hinge"},
            "other": {"use": "standard/hinge", "players": ["discriminator"], "reads": {"fake": "other"}},
        },
    },
    "an attack": {
        "losses": {"adversarial": {"use": "standard/hinge"}},
        "attacks": {"sign": {"use": "probe/sign", "epsilon": 0.05}},
    },
    "batch norm of a generator in the turn of D": {
        "networks": {"generator": {"use": "standard/dcgan-generator", "width": 0.2}},
        "loop": OF_D,
    },
}


class PiecesOfD(gancore.Loop):
    """The turn of D alone is taken in pieces."""

    def __init__(self, *, accumulate: int = 1) -> None:
        super().__init__()
        self.accumulate = accumulate

    def iteration(self, run: gancore.Run) -> None:
        batch = run.fresh()
        run.phase("discriminator", batch, self.accumulate)
        run.phase("generator", run.renew(batch))


def _pieces(number: int, *tables: dict[str, Any]) -> Run:
    of_d = any(table.get("loop") == OF_D for table in tables)
    plan = plan_of(EXACT, *tables, {"loop": {"use": "standard/alternating", "accumulate": number}})
    return Run(attrs.evolve(plan, loop=attrs.evolve(plan.loop, cls=PiecesOfD)) if of_d else plan, CPU)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("number", [2, 8])
def test_turns_in_pieces_are_those_on_the_whole_batch(game: str, number: int) -> None:
    whole, pieces, untrained = (_pieces(cut, GAMES[game]) for cut in (1, number, 1))
    before = state_of(untrained)
    steps(whole, 4)
    steps(pieces, 4)
    for name, value in state_of(whole).items():
        if value.is_floating_point() and name in before:
            moved = float((value - before[name]).abs().max())
            assert torch.allclose(value, state_of(pieces)[name], rtol=1e-4, atol=max(1e-3 * moved, 1e-7)), name
    for name, loss in whole.losses.items():
        assert float(pieces.losses[name]) == pytest.approx(float(loss), rel=1e-4), name


def test_a_piece_has_its_share_of_the_images() -> None:
    rows: list[int] = []
    run = _pieces(4)
    run.networks["discriminator"].register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    steps(run, 1)
    # Of 16 images of each side: four of each at a time, which the turn of G has go through one after the other.
    assert rows == [8] * 4 + [4] * 8


def test_dropout_is_drawn_anew_for_each_piece() -> None:
    seen: list[torch.Tensor] = []
    run = _pieces(2, {"networks": {"discriminator": {"dropout": 0.5}}})
    run.networks["discriminator"].net[3].register_forward_hook(
        lambda _m, inputs, output: seen.append((output == 0) & (inputs[0] != 0))
    )
    steps(run, 1)
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"networks": {"discriminator": {"use": "standard/dcgan-discriminator"}}}, "the discriminator has batch statistics"),
        ({"networks": {"generator": {"use": "standard/dcgan-generator"}}}, "the generator has batch statistics"),
        ({"heads": {"adversarial": {"use": "probe/normed"}}}, "the discriminator has batch statistics"),
        (
            {
                "networks": {"classifier": {"use": "host/classifier"}},
                "losses": {"balance": {"use": "probe/balance"}},
            },
            r"losses\.balance \(probe/balance\) is no mean over images",
        ),
        ({"attacks": {"free": {"use": "probe/free"}}}, "something is kept for each image"),
        ({"run": {"batch_size": 15}}, "they can't have as many of its 15 images each"),
        (
            {
                "sources": {"avoid": {}},
                "samplers": {"mix": {"use": "probe/difference"}},
                "losses": {"adversarial": {"use": "standard/hinge"}},
            },
            "a sampler joins or blends images",
        ),
    ],
)
def test_a_turn_that_would_compute_something_else_in_pieces_is_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(GancoreError, match=rf"turn of the \w+ can't be taken in 2 pieces: .*{why}") as refused:
        steps(_pieces(2, table), 1)
    assert len(str(refused.value)) <= 400


def test_a_term_that_observes_a_batch_is_not_shown_pieces_of_it() -> None:
    plan = plan_of({"loop": {"accumulate": 2}})
    (label,) = plan.terms
    term = attrs.evolve(plan.terms[label], methods={**plan.terms[label].methods, "observe": ()})
    with pytest.raises(GancoreError, match=r"losses\.adversarial .* observes a batch as a whole"):
        steps(Run(attrs.evolve(plan, terms={label: term}), CPU), 1)


# -- more generated images ---------------------------------------------------------------------------------------------

HINGE: dict[str, Any] = {"losses": {"adversarial": {"use": "standard/hinge"}}}


@pytest.mark.parametrize("generated", [24, 32, 4, 16])
def test_a_loop_asks_for_as_many_generated_images_as_it_wants(generated: int) -> None:
    rows: list[int] = []
    run = run_of(HINGE, {"loop": {"generated": generated}})
    run.networks["generator"].register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    steps(run, 2)
    assert rows == [16, generated] * 2


def test_as_many_as_there_are_images_is_what_is_drawn_unasked() -> None:
    assert same(steps(run_of(HINGE), 2), steps(run_of(HINGE, {"loop": {"generated": 16}}), 2)) == []


def test_the_turn_of_g_on_more_images_is_its_gradient_on_them() -> None:
    run = run_of(HINGE, EXACT, {"loop": {"generated": 40}})
    steps(run, 1)
    hand = run_of(HINGE, EXACT)
    batch = hand.fresh()
    hand.phase("discriminator", batch)
    drawn = hand.latent(40, "latent", hand.latents, 0)
    images = hand.networks["generator"](drawn.z, drawn.label)
    score = hand.heads["adversarial"](hand.networks["discriminator"](images), drawn.label)
    (grad,) = torch.autograd.grad(-score.mean(), [hand.networks["generator"].linear.bias])
    assert torch.allclose(run.networks["generator"].linear.bias.grad, grad, atol=1e-7)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "something in the turn of the generator pairs them"),
        ({**HINGE, "loop": {"generated": 0}}, "it must ask for at least one"),
        (
            {"sources": {"avoid": {}}, "samplers": {"mix": {"use": "probe/difference"}}, **HINGE},
            "for as many where they are made of these, or where a sampler joins",
        ),
    ],
)
def test_generated_images_that_are_paired_are_as_many_as_real_ones(table: dict[str, Any], why: str) -> None:
    with pytest.raises(GancoreError, match=why) as refused:
        steps(run_of({"loop": {"generated": 24}}, table), 1)
    assert len(str(refused.value)) <= 400
