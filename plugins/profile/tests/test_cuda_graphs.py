"""Replayed iterations equal computed ones to the last bit, and what can't be replayed runs as always, with the reason."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gancore_profile import compiling, cuda_graphs
from gancore_profile.capturing import Cuda, HostCopies
from gancore_profile.cuda_graphs import Iterations, keep_rates_on_device, replay_iterations
from gancore_profile.recording import Count, NotRepeatable, Tape
from gancore_profile.snapshots import Snapshot, check_equal, rounding_alone
from gancore_standard.loops import Alternating
from gancore_training import TrainingRun
from gancore_training.trainer import train
from torch import Tensor

from gancore.engine.run import Run
from gancore.parallel import derive, distributed
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.compose.hosts import CBGAN, CPU, GAME, plan_of, registry, run_of, same
from tests.compose.iterations import KINDS, SNDCGAN, Told, check_like_always
from tests.recorder import Recorder


def graphed(run: Run, *, warm: int = 2) -> tuple[Iterations, Recorder, Told]:
    recorder, told = Recorder(), Told()
    return Iterations(run, recorder, told, warm=warm), recorder, told


@pytest.mark.parametrize(("base", "tables", "graphs"), KINDS.values(), ids=KINDS)
def test_replayed_iterations_equal_computed_ones_to_the_last_bit(
    base: dict[str, Any], tables: list[dict[str, Any]], graphs: int
) -> None:
    eager, run = run_of(*tables, base=base), run_of(*tables, base=base)
    iterations, recorder, told = graphed(run)
    check_like_always(eager, run, iterations, 14)
    assert told == ["on"]
    assert recorder.captures == graphs
    # Of each kind two run as always, then the captured one, too.
    assert recorder.replays == 14 - 3 * graphs


def test_a_replay_leaves_an_earlier_loss_alone() -> None:
    run = run_of()
    iterations, _, _ = graphed(run, warm=1)
    for _ in range(4):
        iterations.step()
    newest = dict(run.losses)
    values = {name: loss.clone() for name, loss in newest.items()}
    iterations.step()
    assert all(torch.equal(newest[name], values[name]) for name in newest)


def check_off(run: Run, eager: Run, reason: str, *, number: int = 6) -> None:
    iterations, _, told = graphed(run)
    check_like_always(eager, run, iterations, number)
    assert len(told) == 1
    assert told[0].startswith("off: ")
    assert reason in told[0]
    assert "\n" not in told[0]


LOOKS: dict[str, Any] = {
    "a remainder": lambda run: run.iteration % 3 == 0,
    "an index": lambda run: [True, False, True, True, False, False, True, False][run.iteration],
    "a key": lambda run: {0: True, 4: True}.get(run.iteration, False),
    "a range": lambda run: len(range(run.iteration)) > 3,
    "a float": lambda run: math.sqrt(run.iteration) > 1,
}


@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
def test_a_loop_that_looks_at_the_iteration_is_caught(looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def iteration(self: Any, run: Run) -> None:
        if looks(run):
            run.phase("discriminator", run.fresh())
        batch = run.fresh()
        run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))

    monkeypatch.setattr(Alternating, "iteration", iteration)
    check_off(run_of(), run_of(), "an iteration's Python depends on run.iteration")


@pytest.mark.parametrize("kind", [list, deque, dict, set])
def test_a_loop_that_remembers_in_python_is_not_captured(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Alternating.iteration

    def iteration(self: Any, run: Run) -> None:
        memory = self.__dict__.setdefault("memory", kind())
        if len(memory) in (3, 5):
            run.phase("discriminator", run.fresh())
        number = len(memory)
        if kind is dict:
            memory[number] = number
        else:
            (memory.add if kind is set else memory.append)(number)
        plain(self, run)

    monkeypatch.setattr(Alternating, "iteration", iteration)
    run = run_of()
    check_off(run, run_of(), "loop changes memory, which is no tensor")
    # The trial left no trace in it.
    assert len(run.modules()["loop"].memory) == 6


def test_a_loop_that_nobody_declared_anything_of_is_replayed() -> None:
    table = {"attacks": {"free": {"use": "probe/free"}}, "loop": {"use": "probe/replay"}}
    run = run_of(table)
    iterations, recorder, told = graphed(run)
    check_like_always(run_of(table), run, iterations, 6)
    assert told == ["on"]
    assert recorder.replays > 0


def test_a_loop_that_remembers_in_tensors_is_replayed() -> None:
    table = {"loop": {"use": "probe/lookahead", "k": 2}}
    run = run_of(table)
    iterations, recorder, told = graphed(run)
    check_like_always(run_of(table), run, iterations, 8)
    assert told == ["on"]
    assert recorder.replays > 0


def test_a_number_that_the_optimizer_reads_on_the_host_must_stay() -> None:
    steps = {"use": "steps", "at": [5], "factor": 0.5}
    table = {"optimizers": {"generator": {"schedules": {"beta1": steps}}}}
    run = run_of(table)
    iterations, recorder, told = graphed(run)
    check_like_always(run_of(table), run, iterations, 8)
    assert told == ["on", "off: betas of optimizers.generator changes, a number that a graph would freeze"]
    assert recorder.replays > 0


def test_a_schedule_of_the_average_is_not_captured() -> None:
    table = {"ema": {"decay": 0.9, "schedule": {"use": "linear"}}}
    check_off(run_of(table), run_of(table), "the decay of [ema] has a schedule")


def test_dropout_is_not_captured() -> None:
    table = {"networks": {"discriminator": {"dropout": 0.5}}}
    check_off(run_of(table), run_of(table), "default generator")


def patched(monkeypatch: pytest.MonkeyPatch, change: Any) -> tuple[Run, Run]:
    """Return two runs whose adversarial term is changed."""
    one, two = run_of(), run_of()
    for run in (one, two):
        term = run.terms["adversarial"]
        original = term.generator
        monkeypatch.setattr(term, "generator", change(term, original), raising=False)
    return one, two


def test_a_term_that_waits_for_the_device_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(_term: Any, original: Any) -> Any:
        def generator(**tensors: Tensor) -> Tensor:
            loss: Tensor = original(**tensors)
            return loss * 2 if loss.item() > 0 else loss

        return generator

    run, eager = patched(monkeypatch, change)
    check_off(run, eager, "makes the host wait")


def test_a_term_that_counts_in_python_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(term: Any, original: Any) -> Any:
        term.calls = 0

        def generator(**tensors: Tensor) -> Tensor:
            term.calls += 1
            loss: Tensor = original(**tensors)
            return loss * term.calls

        return generator

    run, eager = patched(monkeypatch, change)
    check_off(run, eager, "loss.adversarial changes calls, which is no tensor")
    assert run.terms["adversarial"].calls == eager.terms["adversarial"].calls == 6


def test_a_term_that_replaces_its_buffer_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(term: Any, original: Any) -> Any:
        term.register_buffer("mean", torch.zeros(()))

        def generator(**tensors: Tensor) -> Tensor:
            loss: Tensor = original(**tensors)
            term.mean = 0.9 * term.mean + loss.detach()
            return loss + term.mean

        return generator

    run, eager = patched(monkeypatch, change)
    check_off(run, eager, "replaces the tensor loss.adversarial/mean")


def test_what_python_keeps_where_nobody_looks_shows_in_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where a module of Python's own keeps something for a component.
    calls: Counter[int] = Counter()
    monkeypatch.setattr(json, "calls", calls, raising=False)

    def change(term: Any, original: Any) -> Any:
        def generator(**tensors: Tensor) -> Tensor:
            vars(json)["calls"][id(term)] += 1
            loss: Tensor = original(**tensors)
            return loss * vars(json)["calls"][id(term)]

        return generator

    run, _ = patched(monkeypatch, change)
    iterations, _, told = graphed(run)
    for _ in range(5):
        iterations.step()
    assert told == [f"off: {iterations.off}"]
    assert "a replay comes to another" in told[0]


def test_an_error_of_a_capture_is_one_sentence_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Recorder, work: Any, _generators: Any) -> Any:
        work()
        raise RuntimeError("CUDA error:\n operation not supported\n on global/shared address space")

    monkeypatch.setattr(Recorder, "capture", broken)
    check_off(run_of(), run_of(), "RuntimeError: CUDA error: operation not supported on")


def test_several_processes_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of()
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    told = Told()
    Iterations(run, Recorder(), told)
    assert told == ["off: several processes exchange tensors in every iteration"]


def test_rmsprop_is_not_captured() -> None:
    table = {"optimizers": {"generator": {"use": "rmsprop"}}}
    check_off(run_of(table), run_of(table), "optimizers.generator is RMSprop, whose learning rate a graph would freeze")


def test_on_a_cpu_it_only_says_that_there_are_none() -> None:
    run, told = run_of(), Told()
    assert replay_iterations(run, run.step, told) == run.step
    assert told == ["off: there are none on the CPU"]


def test_what_another_accelerator_does_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "backend_of", lambda _device: Recorder())
    run, told = run_of(), Told()

    def other() -> None:
        run.step()

    assert replay_iterations(run, other, told) is other
    assert told == ["off: an accelerator before it runs the iterations in its own way"]


def test_a_training_with_graphs_writes_what_one_without_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A class balanced by a third network, pictures and checkpoints between the replays, and an end in the middle.
    table = merge(merge(SNDCGAN, CBGAN), {"run": {"iterations": 12, "sample_every": 5, "checkpoint_every": 4, "log_every": 1}})

    def trained(name: str, accelerate: list[str], **more: Any) -> Run:
        recipe = check_table(merge(table, {"run": {"accelerate": accelerate}}), registry(), name="test")
        return train(recipe, registry(), tmp_path / name, device=torch.device("cpu"), **more)

    eager = trained("eager", [])
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "backend_of", lambda _device: recorder)
    monkeypatch.setattr(cuda_graphs, "WARM", 1)
    run = trained("graphed", ["cuda-graphs"])
    assert same(eager, run) == []
    assert recorder.replays > 0
    checkpoints = tmp_path / "graphed" / "checkpoints"
    (checkpoints / "00000012.safetensors").unlink()
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["00000008.safetensors"]
    before, recorder.replays = recorder.replays, 0
    assert same(eager, trained("graphed", ["cuda-graphs"], resume=True)) == []
    assert before > recorder.replays > 0
    assert status_in(tmp_path / "graphed") == {"profile/cuda-graphs": "on"}
    logs = [
        [entry["losses"] for entry in map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())]
        for name in ("eager", "graphed")
    ]
    assert logs[0] == logs[1]


def test_compiled_networks_are_replayed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "backend_of", lambda _device: recorder)
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_medians", lambda *_: (0.02, 0.01))

    def trained(*accelerate: str) -> Run:
        table = merge(SNDCGAN, {"run": {"iterations": 8, "accelerate": list(accelerate)}, "ema": {"start": 0}})
        return train(check_table(table, registry(), name="test"), registry(), tmp_path / str(len(accelerate)), device=CPU)

    assert same(trained(), trained("compile", "cuda-graphs")) == []
    status = status_in(tmp_path / "2")
    assert status["profile/compile"].startswith("on, after")
    assert status["profile/cuda-graphs"] == "on"
    assert recorder.replays == 4


def status_in(folder: Path) -> Any:
    return json.loads((folder / "environment.json").read_text())["accelerators"]


def test_copies_from_the_host_are_counted_and_no_others() -> None:
    far = torch.ones(3, device="meta")
    with HostCopies() as copies:
        torch.ones(3).to(torch.float64)
        far.to(torch.float64)
        far.copy_(torch.ones(3, device="meta"))
        assert copies.number == 0
        torch.ones(3).to("meta")
        far.copy_(torch.ones(3))
    assert copies.number == 2


def test_a_term_that_copies_from_the_host_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(_term: Any, original: Any) -> Any:
        def generator(**tensors: Tensor) -> Tensor:
            torch.tensor([1.0, 2.0]).to("meta")
            loss: Tensor = original(**tensors)
            return loss

        return generator

    # On the CPU the indices are no such copies, so there are none to count them against.
    monkeypatch.setattr(Tape, "inputs", 0)
    run, eager = patched(monkeypatch, change)
    check_off(run, eager, "copies a tensor from the host")


def test_a_count_may_be_named_and_added_to_and_nothing_else() -> None:
    count = Count(7, "draws")
    assert derive(5, "epoch", count + 1) == derive(5, "epoch", 8)
    assert (1 + count).name == "draws"
    uses = [
        lambda: int(count),
        lambda: f"{count}",
        lambda: count % 2,
        lambda: count > 3,
        lambda: count == 7,
        lambda: bool(count),
        lambda: 2 * count,
        lambda: count - 1,
    ]
    for use in uses:
        with pytest.raises(NotRepeatable, match=r"run\.draws"):
            use()


class Log(list[str]):
    """A stand-in for torch.cuda that writes down what is done with it."""

    def noting(self, text: str, fails: bool = False) -> Any:
        def call(*_arguments: Any, **_more: Any) -> None:
            self.append(text)
            if fails:
                raise RuntimeError(f"{text} failed")

        return call


def cuda_of(log: Log, monkeypatch: pytest.MonkeyPatch, *, ends: bool = True) -> Cuda:
    class Graph:
        register_generator_state = staticmethod(log.noting("register"))
        capture_begin = staticmethod(log.noting("begin"))
        capture_end = staticmethod(log.noting("end", fails=not ends))
        replay = staticmethod(log.noting("replay"))

    side, present = SimpleNamespace(wait_stream=log.noting("enter")), SimpleNamespace(wait_stream=log.noting("leave"))
    stand_ins = {
        "Stream": lambda _device: side,
        "graph_pool_handle": lambda: None,
        "CUDAGraph": Graph,
        "synchronize": log.noting("wait"),
        "device": lambda _device: contextlib.nullcontext(),
        "stream": lambda _stream: contextlib.nullcontext(),
        "current_stream": lambda _device: present,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return Cuda(torch.device("cuda"))


def test_a_cuda_graph_knows_its_generators_and_waits_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    backend = cuda_of(log, monkeypatch)
    backend.warm(log.noting("work"))
    assert log == ["enter", "work", "leave"]
    log.clear()
    replay = backend.capture(log.noting("work"), [torch.Generator(), torch.Generator()])
    assert log == ["register", "register", "wait", "enter", "begin", "work", "end", "leave"]
    log.clear()
    replay()
    assert log == ["replay"]


def test_what_broke_a_capture_is_told_and_not_that_it_was_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    backend = cuda_of(log, monkeypatch, ends=False)
    with pytest.raises(RuntimeError, match="work failed"):
        backend.capture(log.noting("work", fails=True), [])
    assert log == ["wait", "enter", "begin", "work", "end", "leave"]


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (SNDCGAN, {"ema.generator/convolutions.0.bias", "network.generator/convolutions.0.bias"}),
        # The relativistic loss sees differences of logits.
        (GAME, {"head.adversarial/linear.bias"}),
    ],
    ids=["a bias before batch norm", "a bias of logits that are compared"],
)
def test_a_parameter_whose_gradient_is_rounding_is_known(base: dict[str, Any], names: set[str]) -> None:
    run = run_of(base)
    for _ in range(7):
        run.step()
    assert {name for name in rounding_alone(run) if not name.startswith("optimizer.")} == names


def test_where_a_gradient_is_rounding_only_the_size_of_a_replayed_step_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(GAME)
    for _ in range(3):
        run.step()
    before = Snapshot(run)
    run.step()
    wanted, replayed = Snapshot(run), Snapshot(run)
    # As on a GPU, where two computations of an iteration differ.
    monkeypatch.setattr(run, "device", torch.device("cuda"))
    bias, other = "head.adversarial/linear.bias", "network.generator/linear.weight"
    step = wanted.values[bias] - before.values[bias]
    replayed.values[bias] = before.values[bias] - 3 * step
    check_equal(replayed, wanted, wanted, before)
    replayed.values[bias] = before.values[bias] + 100 * step + 1
    with pytest.raises(NotRepeatable, match=bias):
        check_equal(replayed, wanted, wanted, before)
    replayed.values[bias] = wanted.values[bias]
    replayed.values[other] = 2 * before.values[other] - wanted.values[other]
    with pytest.raises(NotRepeatable, match=other):
        check_equal(replayed, wanted, wanted, before)


# -- on a GPU -----------------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def on_gpu(base: dict[str, Any], *tables: dict[str, Any]) -> TrainingRun:
    return TrainingRun(plan_of(*tables, base=base), torch.device("cuda"))


@needs_gpu
@pytest.mark.parametrize(("base", "tables", "graphs"), KINDS.values(), ids=KINDS)
def test_cuda_graphs_compute_what_the_iterations_do(base: dict[str, Any], tables: list[dict[str, Any]], graphs: int) -> None:
    eager, run = on_gpu(base, *tables), on_gpu(base, *tables)
    for player in eager.players.values():
        # A float32 rate is rounded, so it is compared with one that is, too.
        keep_rates_on_device(player.optimizer)
    start = eager.tensors()
    start = {name: value.clone() for name, value in start.items()}
    told = Told()
    step = replay_iterations(run, run.step, told)
    for _ in range(16):
        eager.step()
        step()
        assert eager.counters() == run.counters()
        assert list(eager.losses) == list(run.losses)
    assert told == ["on"]
    a, b = eager.tensors(), run.tensors()
    assert a.keys() == b.keys()
    noise = rounding_alone(eager) | rounding_alone(run)
    for name, wanted in a.items():
        # The mean of what a batch norm sees holds the bias before it.
        if name in noise or (noise and name.endswith("running_mean")):
            continue
        before = start.get(name, torch.zeros_like(wanted)).double()
        allowed = 0.05 * (wanted - before).double().norm() + 1e-5 * wanted.double().norm()
        assert (wanted.double() - b[name].double()).norm() <= allowed, name


@needs_gpu
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"networks": {"discriminator": {"dropout": 0.5}}}, "default generator"),
        ({"samplers": {"difference": {"use": "probe/difference"}}}, ""),
    ],
    ids=["dropout", "a sampler that may not be capturable"],
)
def test_on_a_gpu_what_is_not_captured_goes_on(table: dict[str, Any], reason: str) -> None:
    run, told = on_gpu(GAME, table), Told()
    step = replay_iterations(run, run.step, told)
    for _ in range(8):
        step()
    assert run.iteration == 8
    assert all(value.isfinite().all() for value in run.losses.values())
    assert len(told) == 1
    assert reason in told[0]


@needs_gpu
def test_a_capture_that_breaks_leaves_the_gpu_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    run = on_gpu(GAME)
    term = run.terms["adversarial"]
    original = term.generator

    def generator(**tensors: Tensor) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            # A synchronization of the kind that no operator shows.
            torch.cuda.synchronize()
        loss: Tensor = original(**tensors)
        return loss

    monkeypatch.setattr(term, "generator", generator, raising=False)
    told = Told()
    step = replay_iterations(run, run.step, told)
    for _ in range(8):
        step()
    assert run.iteration == 8
    assert len(told) == 1
    assert told[0].startswith("off: ")
