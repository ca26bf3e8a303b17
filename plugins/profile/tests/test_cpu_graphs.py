"""Recorded operators that are called again compute what iterations do, to the last bit; what can't be recorded is told."""

from __future__ import annotations

import itertools
import json
import random
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from gancore_profile import cuda_graphs
from gancore_profile.allocations import Allocations
from gancore_profile.cpu_graphs import Cpu, replay_iterations_on_cpu
from gancore_profile.cuda_graphs import Iterations
from gancore_profile.programs import Call, Slot, needed, program
from gancore_profile.recorded_operators import Recording
from gancore_profile.recording import NotRepeatable
from gancore_standard.loops import Alternating
from gancore_training import TrainingRun
from gancore_training.trainer import train
from torch import Tensor

from gancore.engine.run import Run
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.compose.hosts import CBGAN, CPU, registry, run_of, same
from tests.compose.iterations import KINDS, SNDCGAN, Told, check_like_always

aten = torch.ops.aten


class Counted(Cpu):
    """Counts its captures and their replays."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.captures = self.replays = 0

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        replay = super().capture(work, generators)
        self.captures += 1

        def counted() -> None:
            replay()
            self.replays += 1

        return counted


def graphed(run: Run) -> tuple[Iterations, Counted, Told]:
    backend, told = Counted(run), Told()
    return Iterations(run, backend, told, warm=2), backend, told


def gradients(run: Run) -> list[Tensor | None]:
    return [parameter.grad for player in run.players.values() for parameter in player.parameters]


def check_same_gradients(eager: Run, run: Run) -> None:
    for one, two in zip(gradients(eager), gradients(run), strict=True):
        assert (one is None) == (two is None)
        assert one is None or two is None or torch.equal(one, two)


@pytest.mark.parametrize("name", KINDS)
def test_replayed_iterations_equal_computed_ones_to_the_last_bit(name: str) -> None:
    base, tables, graphs = KINDS[name]
    # Something begins in the middle of these.
    number = 12 if graphs > 1 or "from iteration" in name else 6
    eager, run = run_of(*tables, base=base), run_of(*tables, base=base)
    iterations, backend, told = graphed(run)
    check_like_always(eager, run, iterations, number)
    check_same_gradients(eager, run)
    assert told == ["on"]
    assert backend.captures == graphs
    # Of each kind two run as always, then the captured one, too.
    assert backend.replays == number - 3 * graphs


def test_two_threads_and_autocast_compute_the_same() -> None:
    table = {"run": {"precision": "bfloat16"}, "losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}
    eager, run = run_of(table), run_of(table)
    iterations, backend, told = graphed(run)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_like_always(eager, run, iterations, 6)
    finally:
        torch.set_num_threads(before)
    assert told == ["on"]
    assert backend.replays == 3


def test_gradients_of_pieces_of_a_batch_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def iteration(_self: Any, run: Run) -> None:
        batch = run.fresh()
        run.phase("discriminator", batch, pieces=2)
        run.phase("generator", run.renew(batch), pieces=2)

    monkeypatch.setattr(Alternating, "iteration", iteration)
    eager, run = run_of(), run_of()
    iterations, backend, told = graphed(run)
    check_like_always(eager, run, iterations, 6)
    check_same_gradients(eager, run)
    assert told == ["on"]
    assert backend.replays == 3


def test_what_draws_from_the_default_generator_is_seeded_for_each_turn() -> None:
    table = {"networks": {"discriminator": {"dropout": 0.5}}}
    eager, run = run_of(table), run_of(table)
    iterations, backend, told = graphed(run)
    states = []
    for each, step in ((eager, eager.step), (run, iterations.step)):
        for _ in range(7):
            step()
        # As it is left, whatever draws next gets the same, by torch, Python and NumPy.
        states.append((torch.default_generator.get_state().tolist(), random.random(), np.random.rand()))
        assert each.iteration == 7
    assert same(eager, run) == []
    assert states[0] == states[1]
    assert told == ["on"]
    assert backend.replays == 4


def test_a_replay_needs_no_more_memory() -> None:
    eager, run = run_of(base=SNDCGAN), run_of(base=SNDCGAN)
    iterations, _, _ = graphed(run)
    peaks = []
    for step in (eager.step, iterations.step):
        # The average begins at the sixth iteration, a kind of its own.
        for _ in range(12):
            step()
        with Allocations() as counted:
            step()
        peaks.append(counted.peak)
    assert 0 < peaks[1] <= 1.05 * peaks[0]


# -- what runs as always -----------------------------------------------------------------------------------------------


def check_off(run: Run, eager: Run, reason: str, *, number: int = 6) -> None:
    iterations, _, told = graphed(run)
    check_like_always(eager, run, iterations, number)
    assert len(told) == 1
    assert told[0].startswith("off: ")
    assert reason in told[0]
    assert "\n" not in told[0]


def numbers(loss: Tensor) -> Tensor:
    return loss + torch.from_dlpack(np.full((), 0.5, dtype=np.float32))


OWN = torch.Generator().manual_seed(5)

LOOKS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "item": (lambda loss: loss * 2 if loss.item() > 0.5 else loss, "makes the host wait"),
    "if": (lambda loss: loss * 2 if loss > 0.5 else loss, "makes the host wait"),
    "a mask": (lambda loss: loss + loss[loss > 0.5].sum(), "mask"),
    "tolist": (lambda loss: loss * (1 + (loss.detach().tolist() > 0.5)), "Tensor.tolist hands values to Python"),
    "numpy": (lambda loss: loss * (1 + bool(loss.detach().numpy() > 0.5)), "Tensor.numpy hands values to Python"),
    "tensors of numpy": (numbers, "makes a tensor without torch"),
    "python's random": (lambda loss: loss * (1 + 0 * random.random()), "the random streams of Python or NumPy"),
    "numpy's random": (lambda loss: loss * (1 + 0 * np.random.rand()), "the random streams of Python or NumPy"),
    "a stream": (lambda loss: loss + 0 * torch.rand((), generator=OWN), "a generator of its own"),
    "a shape": (lambda loss: loss + torch.ones(1, 2).squeeze_(0).mean(), "changes the shape of a tensor that is there"),
}


def patched(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Tensor], Tensor]) -> tuple[Run, Run]:
    """Return two runs in which something happens to the adversarial term's loss of the generator."""
    one, two = run_of(), run_of()
    for run in (one, two):
        term = run.terms["adversarial"]

        def generator(*, _term: Any = term, _original: Any = term.generator, **tensors: Tensor) -> Tensor:
            return change(_term, _original(**tensors))

        monkeypatch.setattr(term, "generator", generator, raising=False)
    return one, two


@pytest.mark.parametrize(("looks", "reason"), LOOKS.values(), ids=LOOKS)
def test_what_python_or_chance_decides_is_not_recorded(
    looks: Callable[[Tensor], Tensor], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_off(*patched(monkeypatch, lambda _term, loss: looks(loss)), reason)


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * (0.5 if gradients[0].numpy() > 0 else 1.0)


def test_what_python_reads_in_a_backward_pass_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Tensor.numpy
    # Of a function of torch.autograd, whose stubs say nothing.
    halved: Any = Halved.apply
    check_off(*patched(monkeypatch, lambda _term, loss: halved(loss)), "Tensor.numpy hands values to Python")
    assert Tensor.numpy is before


def counting(term: Any, loss: Tensor) -> Tensor:
    term.calls = getattr(term, "calls", 0) + 1
    return loss * term.calls


def remembering(term: Any, loss: Tensor) -> Tensor:
    before = term.__dict__.get("before", torch.zeros(()))
    term.before = loss.detach()
    return loss + before


def adding(term: Any, loss: Tensor) -> Tensor:
    term.__dict__.setdefault("total", torch.zeros(())).add_(loss.detach())
    return loss + term.total


def replacing(term: Any, loss: Tensor) -> Tensor:
    if not hasattr(term, "scale"):
        term.register_buffer("scale", torch.ones(()))
    term.scale = term.scale * 0.9
    return loss * term.scale


STATE: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "a number": (counting, "loss.adversarial changes calls, which is no tensor"),
    "a tensor that is no buffer": (remembering, "an iteration replaces the tensor loss.adversarial/before"),
    "a buffer that is replaced": (replacing, "an iteration replaces the tensor loss.adversarial/scale"),
}


@pytest.mark.parametrize(("change", "reason"), STATE.values(), ids=STATE)
def test_state_that_is_no_tensor_in_its_place_is_not_recorded(
    change: Callable[[Any, Tensor], Tensor], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_off(*patched(monkeypatch, change), reason)


def test_a_tensor_that_is_no_buffer_but_changes_in_its_place_is_state_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run, eager = patched(monkeypatch, adding)
    iterations, backend, told = graphed(run)
    check_like_always(eager, run, iterations, 6)
    assert told == ["on"]
    assert backend.replays == 3
    assert torch.equal(run.terms["adversarial"].total, eager.terms["adversarial"].total)
    # By its version a training sees that no checkpoint would hold it.
    before = run.terms["adversarial"].total._version
    iterations.step()
    assert run.terms["adversarial"].total._version > before


def test_what_is_kept_where_nobody_looks_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "kept", {}, raising=False)

    def change(term: Any, loss: Tensor) -> Tensor:
        vars(random)["kept"][id(term)] = loss.detach() * 2
        return loss

    check_off(*patched(monkeypatch, change), "keeps a tensor from one iteration to the next where no checkpoint looks")


def test_what_is_changed_where_nobody_looks_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "totals", {}, raising=False)

    def change(term: Any, loss: Tensor) -> Tensor:
        vars(random)["totals"].setdefault(id(term), torch.zeros(())).add_(loss.detach())
        return loss

    check_off(*patched(monkeypatch, change), "aten::add_.Tensor changes a tensor that is no part of the run's state")


class Helper:
    calls = 0


def in_closure(_term: Any) -> Callable[[Tensor], Tensor]:
    calls = 0

    def change(loss: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return loss * (1 + calls % 2)

    return change


def in_object(_term: Any) -> Callable[[Tensor], Tensor]:
    helper = Helper()

    def change(loss: Tensor) -> Tensor:
        helper.calls += 1
        return loss * (1 + (helper.calls > 5))

    return change


def in_class(term: Any) -> Callable[[Tensor], Tensor]:
    own = type("Own", (Helper,), {"calls": 0})
    term.own = own

    def change(loss: Tensor) -> Tensor:
        own.calls += 1
        return loss * (1 + (own.calls > 5))

    return change


def in_global(_term: Any) -> Callable[[Tensor], Tensor]:
    space: dict[str, Any] = {"calls": 0}
    exec("def change(loss):\n    global calls\n    calls += 1\n    return loss * (1 + calls % 2)", space)
    change: Callable[[Tensor], Tensor] = space["change"]
    return change


def in_nested_list(term: Any) -> Callable[[Tensor], Tensor]:
    term.numbers = [[0]]

    def change(loss: Tensor) -> Tensor:
        term.numbers[0][0] += 1
        return loss * (1 + (term.numbers[0][0] > 5))

    return change


def in_dict_of_tensors(term: Any) -> Callable[[Tensor], Tensor]:
    term.sums = {"all": torch.zeros(())}

    def change(loss: Tensor) -> Tensor:
        return loss + term.sums["all"].add_(1)

    return change


def in_stream(term: Any) -> Callable[[Tensor], Tensor]:
    term.chance = random.Random(0)
    return lambda loss: loss * (1 + (term.chance.random() < 0.3))


def in_numpy_stream(term: Any) -> Callable[[Tensor], Tensor]:
    term.chance = np.random.default_rng(0)
    return lambda loss: loss * (1 + (term.chance.random() < 0.3))


def in_iterator(term: Any) -> Callable[[Tensor], Tensor]:
    term.factors = itertools.cycle([1.0, 1.0, 2.0])
    return lambda loss: loss * next(term.factors)


def in_hidden_module(term: Any) -> Callable[[Tensor], Tensor]:
    hidden = [torch.nn.BatchNorm1d(2)]
    return lambda loss: loss + hidden[0](torch.stack([loss, -loss])[:, None].expand(2, 2)).sum() + hidden[0].running_mean.sum()


IN_PYTHON: dict[str, tuple[Callable[[Any], Callable[[Tensor], Tensor]], str]] = {
    "closure": (in_closure, "changes generator, which is no tensor"),
    "object": (in_object, "changes generator, which is no tensor"),
    "class": (in_class, "changes own, which is no tensor"),
    "global": (in_global, "changes generator, which is no tensor"),
    "nested list": (in_nested_list, "changes numbers, which is no tensor"),
    "tensors in a dict": (in_dict_of_tensors, "changes a tensor that is no part of the run's state, in sums"),
    "random stream": (in_stream, "draws from a generator of its own, in chance"),
    "NumPy's stream": (in_numpy_stream, "draws from a generator of its own, in chance"),
    "iterator": (in_iterator, "keeps an iterator, factors, of which nobody can tell where it stands"),
    "module that torch does not see": (in_hidden_module, "changes a tensor that is no part of the run's state, in generator"),
}


@pytest.mark.parametrize(("begin", "reason"), IN_PYTHON.values(), ids=IN_PYTHON)
def test_state_in_python_is_not_recorded_and_is_put_back(
    begin: Callable[[Any], Callable[[Tensor], Tensor]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_of(), run_of()]
    for run in runs:
        term = run.terms["adversarial"]
        change = begin(term)

        def generator(*, _change: Any = change, _original: Any = term.generator, **tensors: Tensor) -> Tensor:
            changed: Tensor = _change(_original(**tensors))
            return changed

        monkeypatch.setattr(term, "generator", generator, raising=False)
    # As many as tell apart what a count of two, or one beyond five, decides.
    check_off(runs[0], runs[1], reason, number=8)


def test_a_module_that_several_share_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = [ModuleType("shared"), ModuleType("shared")]
    runs = [run_of(), run_of()]
    for run, module in zip(runs, shared, strict=True):
        vars(module)["calls"] = 0
        space: dict[str, Any] = {"shared": module, "original": run.terms["adversarial"].generator}
        text = "def change(**tensors):\n    shared.calls += 1\n    return original(**tensors) * (1 + shared.calls % 2)"
        exec(text, space)
        monkeypatch.setattr(run.terms["adversarial"], "generator", space["change"], raising=False)
    check_off(runs[0], runs[1], "loss.adversarial changes generator, which is no tensor", number=8)


class Slower(torch.optim.Adam):
    """Steps twice as far every second time."""

    calls = 0

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        for _ in range(1 + self.calls % 2):
            super().step(closure)


def test_an_optimizer_that_counts_in_python_is_not_recorded() -> None:
    runs = [run_of(), run_of()]
    for run in runs:
        run.players["generator"].optimizer.__class__ = Slower
    check_off(runs[0], runs[1], "optimizers.generator changes calls, which is no tensor", number=8)


VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "unique": lambda x: x.sign().unique().numel() + x.sum(),
    "unique in a row": lambda x: x.sign().unique_consecutive().mean(),
    "bincount": lambda x: torch.bincount(x.sign().long() + 1).float().mean(),
    "repeats": lambda x: torch.repeat_interleave(x.sign().long() + 1).numel() + x.sum(),
}


@pytest.mark.parametrize("looks", VALUES.values(), ids=VALUES)
def test_shapes_that_values_decide_are_not_recorded(looks: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = patched(monkeypatch, lambda _term, loss: loss + 0.1 * looks((loss.detach() * 1e4).frac().sub(0.5).repeat(3)))
    check_off(*runs, "makes a tensor whose shape depends on values")


@pytest.mark.parametrize("read", [int, lambda count: int(str(count))], ids=["int", "str"])
def test_what_a_loop_decides_by_its_iteration_is_not_recorded(
    read: Callable[[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def iteration(_self: Any, run: Run) -> None:
        if read(run.iteration) >= 6:
            run.phase("generator", run.fresh())
        run.phase("discriminator", run.fresh())

    monkeypatch.setattr(Alternating, "iteration", iteration)
    check_off(run_of(), run_of(), "an iteration's Python depends on run.iteration", number=8)


def test_gradients_that_the_next_iteration_looks_at_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def iteration(self: Any, run: Run) -> None:
        gradient = run.players["discriminator"].parameters[0].grad
        batch = run.fresh()
        run.phase("discriminator", batch)
        if gradient is not None:
            with torch.no_grad():
                run.networks["generator"].linear.bias.add_(gradient.sum())
        run.phase("generator", run.renew(batch))

    monkeypatch.setattr(Alternating, "iteration", iteration)
    check_off(run_of(), run_of(), "a replay comes to another")


def test_a_batch_that_a_loop_keeps_for_the_next_iteration_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def iteration(self: Any, run: Run) -> None:
        batch = run.fresh()
        run.phase("discriminator", getattr(self, "before", batch))
        run.phase("generator", run.renew(batch))
        self.before = batch

    monkeypatch.setattr(Alternating, "iteration", iteration)
    check_off(run_of(), run_of(), "loop changes before, which is no tensor")


RATES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a number": lambda group: group.update(lr=1e-3),
    "a tensor": lambda group: group.update(lr=torch.tensor(1e-3, dtype=torch.float64)),
}


@pytest.mark.parametrize("change", RATES.values(), ids=RATES)
def test_a_rate_that_an_observer_replaces_ends_the_replays(change: Callable[[dict[str, Any]], None]) -> None:
    eager, run = run_of(), run_of()
    iterations, _, told = graphed(run)
    check_like_always(eager, run, iterations, 5)
    for each in (eager, run):
        change(each.players["generator"].optimizer.param_groups[0])
    check_like_always(eager, run, iterations, 3)
    assert told == ["on", "off: lr of optimizers.generator changes, a number that a graph would freeze"]


def test_a_parameter_that_lies_elsewhere_ends_the_replays() -> None:
    eager, run = run_of(), run_of()
    iterations, backend, told = graphed(run)
    check_like_always(eager, run, iterations, 6)
    for each in (eager, run):
        parameter = each.players["generator"].parameters[0]
        parameter.data = parameter.data.clone() * 2
    check_like_always(eager, run, iterations, 3)
    assert told == ["on", "off: a parameter lies where it has not been recorded"]
    assert backend.replays == 3


@pytest.mark.parametrize("foreach", [False, True])
def test_an_optimizer_that_reads_its_rate_in_python_keeps_it_there(foreach: bool) -> None:
    table = {"optimizers": {"generator": {"use": "adamw", "foreach": foreach}}}
    run = run_of(table)
    check_off(run, run_of(table), "optimizers.generator reads its learning rate in Python", number=2)
    assert isinstance(run.players["generator"].optimizer.param_groups[0]["lr"], float)


def test_an_accelerator_before_it_keeps_the_iterations() -> None:
    run, told = run_of(), Told()

    def other() -> None:
        run.step()

    assert replay_iterations_on_cpu(run, other, told) is other
    assert told == ["off: an accelerator before it runs the iterations in its own way"]


def test_it_says_where_a_run_is_on_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    run, told = run_of(), Told()
    monkeypatch.setattr(run, "device", torch.device("cuda"))
    assert replay_iterations_on_cpu(run, run.step, told) == run.step
    assert told == ["off: the run is on CUDA"]


# -- trainings ---------------------------------------------------------------------------------------------------------


def test_a_training_with_graphs_writes_what_one_without_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A class balanced by a third network, pictures and checkpoints between the replays, and an end in the middle.
    table = merge(merge(SNDCGAN, CBGAN), {"run": {"iterations": 14, "sample_every": 5, "checkpoint_every": 4, "log_every": 1}})
    monkeypatch.setattr(cuda_graphs, "WARM", 1)

    def trained(name: str, accelerate: list[str], **more: Any) -> TrainingRun:
        recipe = check_table(merge(table, {"run": {"accelerate": accelerate}}), registry(), name="test")
        return train(recipe, registry(), tmp_path / name, device=CPU, **more)

    eager, run = trained("eager", []), trained("graphed", ["cpu-graphs"])
    assert same(eager, run) == []
    checkpoints = tmp_path / "graphed" / "checkpoints"
    assert json.loads((tmp_path / "graphed" / "environment.json").read_text())["accelerators"] == {"profile/cpu-graphs": "on"}
    (checkpoints / "00000014.safetensors").unlink()
    assert same(eager, trained("graphed", ["cpu-graphs"], resume=True)) == []
    # And what one run has begun the other goes on with, either way.
    for name, accelerate in (("graphed", []), ("eager", ["cpu-graphs"])):
        (tmp_path / name / "checkpoints" / "00000014.safetensors").unlink()
        assert same(eager, trained(name, accelerate, resume=True)) == []
    logs = [
        [entry["losses"] for entry in map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())]
        for name in ("eager", "graphed")
    ]
    assert logs[0] == logs[1]


# -- programs ----------------------------------------------------------------------------------------------------------


def recorded(work: Callable[[], Tensor]) -> tuple[list[Call], Slot]:
    """Return the calls of some work and the slot of what it returns."""
    recording = Recording([])
    with recording:
        result = work()
    slot = recording.slot(result)
    assert slot is not None
    return recording.calls, slot


def names(calls: Sequence[Call]) -> list[str]:
    return [call.operator.name() for call in calls]  # type: ignore[attr-defined]


def test_what_nothing_depends_on_is_left_out() -> None:
    x = torch.arange(4.0)

    def work() -> Tensor:
        x.view(2, 2).t()
        (x + 1).mul_(3)
        y = x * 2
        y.detach().view(2, 2).add_(1)
        (y * 5).sum()
        return y

    calls, slot = recorded(work)
    assert names(needed(calls, [slot])) == ["aten::mul.Tensor", "aten::view", "aten::add_.Tensor"]
    x += 1
    assert program(calls, [slot])()[0].tolist() == [3, 5, 7, 9]


def test_what_was_there_before_is_changed_anew() -> None:
    x, total = torch.ones(3), torch.zeros(2)

    def work() -> Tensor:
        total[1] += x.sum()
        return x + torch.tensor([1.0, 2.0, 3.0]).mul_(2)

    calls, slot = recorded(work)
    run = program(calls, [slot])
    assert total.tolist() == [0, 3]
    for number in (2, 3):
        assert run()[0].tolist() == [3, 5, 7]
        assert total.tolist() == [0, 3 * number]


def test_each_of_several_results_has_its_place() -> None:
    x = torch.arange(6.0)

    def work() -> Tensor:
        first, _, third = torch.stack([x, -x]).split(2, dim=1)
        values, places = torch.cat([first, third]).max(dim=1)
        return values + places

    calls, slot = recorded(work)
    expected = work()
    assert torch.equal(program(calls, [slot])()[0], expected)
    x *= -2
    assert torch.equal(program(calls, [slot])()[0], work())


def test_a_tensor_is_let_go_after_its_last_use() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def make(x: Tensor) -> Tensor:
        alive.append(weakref.ref(y := x + 1))
        return y

    def look(x: Tensor) -> Tensor:
        assert [each() is not None for each in alive] == [False, True]
        return x + 1

    x, slots = torch.ones(3), [Slot(number, number) for number in range(3)]
    calls = [
        Call(make, (x,), {}, slots[0], ()),
        Call(make, (slots[0],), {}, slots[1], (slots[0],)),
        Call(look, (slots[1],), {}, slots[2], (slots[1],)),
    ]
    assert program(calls, [slots[2]])()[0].tolist() == [4, 4, 4]


def test_a_tensor_of_a_kind_of_its_own_is_refused() -> None:
    class Own(Tensor):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    own = Tensor._make_subclass(Own, torch.ones(2))
    with pytest.raises(NotRepeatable, match="a component computes with Own"), Recording([]):
        own + 1


def test_memory_may_be_looked_at_as_another_type() -> None:
    values = torch.arange(4.0)

    def work() -> Tensor:
        twice = values * 2
        return twice.view(torch.int32) + 1

    calls, slot = recorded(work)
    values += 1
    assert torch.equal(program(calls, [slot])()[0], work())
