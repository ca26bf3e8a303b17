"""A profile charges time and floating-point operations to the right component, and leaves the run as training would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_profile import compiling, matrix_rate, profile_text, profiling
from gancore_profile.allocations import Allocations
from gancore_profile.costs import DRAWING, LOOP, Memory, Profile, Row
from gancore_profile.flops import FlopCounter
from gancore_profile.host_time import HostTime
from gancore_profile.matrix_rate import matrix_rate as measured_rate
from gancore_profile.profile_text import as_table, as_text
from gancore_profile.profiling import profile
from PIL import Image
from torch import Tensor

from gancore.cli.main import main
from gancore.contract.losses import LossTerm
from gancore.engine.run import Run
from tests.compose.hosts import CBGAN, CPU, installed, registry, run_of, same, steps

MLP: dict[str, Any] = {
    "networks": {
        "generator": {"use": "standard/mlp-generator", "hidden": 16, "depth": 1},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 32, "depth": 1},
    },
    "losses": {"adversarial": {"use": "standard/non-saturating"}},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the machine's rate for a moment only."""
    monkeypatch.setattr(matrix_rate, "SECONDS", 0.0)


def row(measured: Profile, phase: str, name: str) -> Row:
    (wanted,) = [row for row in measured.rows if (row.phase, row.name) == (phase, name)]
    return wanted


# -- time --------------------------------------------------------------------------------------------------------------


def test_the_rows_add_up_to_the_iteration() -> None:
    measured = profile(run_of(CBGAN), 3)
    assert sum(row.seconds for row in measured.rows) == pytest.approx(measured.seconds_with_spans)
    assert {row.phase for row in measured.rows} == {"discriminator", "generator", DRAWING, LOOP}
    assert row(measured, "generator", "losses.balance loss").calls == 1
    assert row(measured, "generator", "networks.discriminator forward").calls == 2
    assert row(measured, DRAWING, "latents").calls == 2


def test_time_goes_to_the_part_that_spends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only the classifier moves, it has all the time."""
    now = 0.0
    run = run_of(CBGAN)

    def spend(*_: object) -> None:
        nonlocal now
        now += 7.0

    run.networks["classifier"].register_forward_hook(spend)
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: now))
    measured = profile(run, 3)
    assert measured.seconds == 7.0
    assert measured.images_per_second == 16 / 7
    for one in measured.rows:
        assert one.seconds == (7.0 if one.name == "networks.classifier forward" else 0.0), one


def test_the_wait_for_images_that_are_read_by_index_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only the reader moves, it has all the time."""
    pixels = np.random.default_rng(0)
    for name in ("a/0", "a/1", "b/0", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    folder = {"use": "standard/image-folder", "path": str(tmp_path), "image_size": 16, "keep": "nothing"}
    run = run_of(MLP, {"data": {**folder, "test_fraction": 0.0}, "run": {"workers": 0}})
    assert profile(run_of(MLP), 1).waiting is None
    now, read = 0.0, run.batches.stream.reader

    def slow(draw: int) -> Tensor:
        nonlocal now
        now += 7.0
        assert read is not None
        return read(draw)

    run.batches.stream.reader = slow
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: now))
    measured = profile(run, 2)
    assert row(measured, DRAWING, "images wait, in data").seconds == measured.seconds_with_spans == 7.0
    assert measured.waiting == 1.0
    assert as_table(measured)["share_that_waits_for_images"] == 1.0
    told = as_text(attrs.evolve(measured, rows=(row(measured, DRAWING, "images wait, in data"),)))
    assert "waits for images that are read by index: 100.0 % of an iteration (with spans)\n" in told
    assert run.batches.stream.reader is slow


def test_spectral_norm_and_passes_of_an_attack_are_told_apart() -> None:
    measured = profile(run_of({"attacks": {"sign": {"use": "probe/sign"}}}), 2)
    names = {row.name for row in measured.rows}
    assert {"networks.discriminator forward, in attacks.sign", "networks.discriminator forward", "attacks.sign craft"} <= names
    spectral = {"networks": {"discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.125}}}
    measured = profile(run_of(spectral), 2)
    # One power iteration a turn for each of the layers and the head, though the generator's turn has two forwards.
    turn = row(measured, "generator", "SpectralNorm, in networks.discriminator")
    layers = [m for m in run_of(spectral).networks["discriminator"].modules() if isinstance(m, torch.nn.Conv2d)]
    assert turn.calls == len(layers)


# -- floating-point operations ------------------------------------------------------------------------------------------


def test_the_operations_of_a_small_game_are_those_counted_by_hand() -> None:
    measured = profile(run_of(MLP), 1)
    n, latent, pixels = 16, 8, 64
    g = 2 * n * (latent * 16 + 16 * pixels)
    d = 2 * n * pixels * 32
    assert row(measured, "discriminator", "networks.generator forward").flops == g
    # Real and generated images in one batch.
    assert row(measured, "discriminator", "networks.discriminator forward").flops == 2 * d
    assert row(measured, "generator", "networks.discriminator forward").flops == d
    head = 2 * n * 32
    assert row(measured, "generator", "heads.adversarial forward").flops == head
    # D's turn: gradients of both layers' weights, and of the hidden layer, but not of the images.
    assert row(measured, "discriminator", "backward").flops == 2 * (d + 2 * head)
    # G's turn: D's images but none of its weights; G's weights and its hidden layer, but not the latents.
    assert row(measured, "generator", "backward").flops == head + d + g + 2 * n * 16 * pixels
    assert measured.flops == sum(row.flops for row in measured.rows)


def test_a_second_order_gradient_is_counted() -> None:
    x = torch.randn(4, 3, 6, 6, requires_grad=True)
    w = torch.randn(5, 3, 3, 3, requires_grad=True)
    product = 2 * 4 * 5 * 4 * 4 * 3 * 9
    with FlopCounter() as counter:
        out = torch.nn.functional.conv2d(x, w)
        assert counter.total == product
        (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        assert counter.total == 2 * product
        grad.square().sum().backward(inputs=[w])
    assert counter.total > 3 * product


def test_the_machines_rate_is_plausible() -> None:
    # From a very slow core to the largest GPU.
    assert 1e8 < measured_rate(CPU, torch.float32) < 1e16


# -- what else it says ---------------------------------------------------------------------------------------------------


class Reading(LossTerm):
    """A term that reads a value on the host, as none may."""

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial.mean() * fake_adversarial.max().item()


def test_what_waits_for_the_device_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of({"losses": {"reading": {"use": "probe/nothing"}}})
    assert profile(run, 1).synchronizations == ()
    monkeypatch.setattr(type(run.terms["reading"]), "generator", Reading.generator, raising=False)
    run = run_of({"losses": {"reading": {"use": "probe/nothing"}}})
    measured = profile(run, 1)
    (wait,) = measured.synchronizations
    assert (wait.operator, wait.phase, wait.where, wait.calls) == (
        "aten::_local_scalar_dense",
        "generator",
        "losses.reading loss",
        1,
    )
    assert "  1 x aten::_local_scalar_dense\n    in generator: losses.reading loss" in as_text(measured)


def test_a_profile_leaves_training_alone_to_the_last_bit() -> None:
    looked_at = run_of(CBGAN)
    profile(looked_at, 2)
    assert same(looked_at, steps(run_of(CBGAN), looked_at.iteration)) == []


def test_peak_memory_is_at_least_what_an_iteration_must_hold() -> None:
    run = run_of(MLP)
    memory = profile(run, 1).memory
    weights = sum(tensor.untyped_storage().nbytes() for tensor in run.tensors().values())
    assert weights <= memory.held < memory.peak
    # The batch of real images alone.
    assert memory.peak - memory.held >= 16 * 64 * 4


def test_memory_is_counted_from_allocation_to_release() -> None:
    """A unit is what one matrix takes."""
    unit = 100 * 100 * 4
    x = torch.randn(100, 100, requires_grad=True)
    with Allocations() as counted:
        h = x * 2
        assert counted.peak == unit
        y = h.exp()
        assert counted.peak == 2 * unit
        del h
        y.view(-1)[:5].detach().mul_(1)
        _ = x + 1
        assert counted.peak == 2 * unit, "a view, a result in place, or what was freed counts"
        # Kept by the graph alone.
        loss = y.square()
        del y, _
        loss = loss * 1
        assert counted.peak == 3 * unit
    assert x.grad is None


def _profile(rows: tuple[Row, ...], **changes: Any) -> Profile:
    known: dict[str, Any] = {"recipe": "some/recipe", "digest": "0" * 12, "device": "processor", "threads": 1}
    known |= {"precision": "float32", "precision_why": "as the recipe says", "iterations": 1, "batch_size": 64}
    known |= {"seconds": 0.5, "seconds_with_spans": sum(row.seconds for row in rows), "matrix_rate": 80e9}
    known |= {"host": HostTime(0.025, 0.4, 5e-7, 1200, 1600)}
    known |= {"memory": Memory(2_500_000, 500_000, "tensors"), "operators": (), "synchronizations": ()}
    return Profile(rows=rows, **{**known, **changes})


def test_the_table_is_sorted_by_time_and_sums_up_what_is_small() -> None:
    rows = (
        Row("generator", "networks.generator", "forward", "", 0.1, 1e9, 1),
        Row("discriminator", "backward", "", "", 0.3, 10e9, 2),
        Row("discriminator", "heads.adversarial", "forward", "", 0.001, 1e6, 2),
        Row("discriminator", "losses.adversarial", "loss", "", 0.001, 0, 2),
        Row("discriminator", "networks.discriminator", "forward", "", 0.598, 5e9, 1),
    )
    lines = as_text(_profile(tuple(sorted(rows, key=lambda row: -row.seconds)))).splitlines()
    table = lines[lines.index("") + 1 :]
    assert [re.split(r"\s{2,}", line.strip())[:3] for line in table[1:6]] == [
        ["discriminator", "900.000", "90.0 %"],
        ["networks.discriminator forward", "598.000", "59.8 %"],
        ["backward x 2", "300.000", "30.0 %"],
        ["2 smaller pieces", "2.000", "0.2 %"],
        ["generator", "100.000", "10.0 %"],
    ]
    text = "\n".join(lines)
    assert "128.0 images/s: 500.00 ms an iteration of batch 64" in text
    assert "16 GFLOP an iteration at 32 GFLOP/s = 40 % of this machine's 80 GFLOP/s" in text
    assert "peak memory 2.5 MB, of which 0.5 MB are there between iterations" in text
    assert "the host's own time: 25.00 ms an iteration, with 1600 calls from Python" in text
    assert "(CPU time less 400.00 ms of arithmetic: what operators take beyond 0.5 us)" in text
    assert "host synchronizations inside an iteration: none" in text


# -- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(
        """
[run]
batch_size = 8
latent_dim = 4
precision = "float32"
[data]
use = "standard/digits"
[networks.generator]
use = "probe/tiny-generator"
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.125
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
"""
    )
    with installed(registry()):
        yield lambda *words: CliRunner().invoke(main, ["profile", *map(str, words)], catch_exceptions=False)


def test_the_command_profiles_compiled_networks_where_the_recipe_asks_for_them(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_medians", lambda *_: (0.02, 0.01))
    done = run("tiny.toml", "--set", 'run.accelerate=["compile", "cuda-graphs"]', "--iterations", 1, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert re.match(r"profile/compile is on, after \d+ s.*\n", done.output)
    assert "cuda-graphs" not in done.output


def test_the_command_times_replays_and_looks_into_iterations_without(run: Callable[..., Result], tmp_path: Path) -> None:
    words = ("tiny.toml", "--iterations", 2, "--device", "cpu", "--out", tmp_path / "profile.json")
    # What comes after a graph is around it, and no reason not to replay.
    done = run(*words, "--set", 'run.accelerate=["cpu-graphs", "cpu/convolutions"]')
    assert done.exit_code == 0, done.output
    assert done.output.count("profile/cpu-graphs is on") == 1
    assert done.output.count("cpu/convolutions is off: ") == 1
    assert "without graphs: " in done.output
    table = json.loads((tmp_path / "profile.json").read_text())
    assert 0 < table["host"]["calls"] < table["host_without_graphs"]["calls"]
    assert 0 < table["host"]["operators"] < table["host_without_graphs"]["operators"]
    assert any(row["place"] == "networks.discriminator" for row in table["rows"])
    assert "without graphs" not in run(*words).output
    assert json.loads((tmp_path / "profile.json").read_text())["host_without_graphs"] is None


def test_the_command_profiles_iterations_as_an_accelerator_runs_them(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    iterations: list[int] = []

    def accelerate(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
        def counted() -> None:
            iterations.append(run.iteration)
            step()

        tell("on")
        return counted

    monkeypatch.setattr("gancore_cpu.convolutions.accelerate_convolutions", accelerate)
    done = run("tiny.toml", "--set", 'run.accelerate=["cpu/convolutions"]', "--iterations", 1, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("cpu/convolutions is on\n")
    assert len(iterations) > 2


def test_the_command_prints_the_table_in_80_columns_and_keeps_nothing(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine any row may be a small one, which is summed up with others.
    monkeypatch.setattr(profile_text, "SMALL", 0.0)
    done = run("tiny.toml", "--iterations", 2, "--out", "profile.json", "--device", "cpu")
    assert done.exit_code == 0, done.output
    for line in ("discriminator ", "  networks.generator forward", "  backward ", "drawing batches ", "loop "):
        assert re.search(f"^{line} *[0-9.]+ +[0-9.]+ %", done.output, re.MULTILINE), line
    assert re.search(r"^[\d.]+ images/s: [\d.]+ ms an iteration of batch 8", done.output, re.MULTILINE)
    assert re.search(r"^[\d.]+ [kMG]FLOP an iteration at .* % of this machine's .*FLOP/s$", done.output, re.MULTILINE)
    assert "float32, as the recipe says" in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    measured = json.loads((tmp_path / "profile.json").read_text())
    assert measured["images_per_second"] == pytest.approx(8 / measured["seconds"])
    assert sum(row["seconds"] for row in measured["rows"]) == pytest.approx(measured["seconds_with_spans"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profile.json", "tiny.toml"]


def test_networks_that_others_train_are_not_trained_first(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run("cbgan/digits-lt", "--iterations", 1, "--set", "run.batch_size=4")
    assert done.exit_code == 0, done.output
    assert "untrained, which takes the same time: networks.annotator, networks.classifier" in done.output
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing/here"], "nothing/here"),
        (["tiny.toml", "--out", "."], "--out . can't be written: it is a folder; name a file in a folder that exists."),
        (["tiny.toml", "--out", "a/b.json"], "--out a/b.json can't be written: a is no folder; name a file in a folder"),
        (["tiny.toml", "--device", "abacus"], "--device 'abacus' is no device"),
        (["tiny.toml", "--iterations", "0"], "0 is not in the range x>=1"),
    ],
    ids=["no recipe", "a folder", "no folder", "no device", "no iterations"],
)
def test_bad_input_gets_one_sentence(run: Callable[..., Result], words: list[str], sentence: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_the_table_for_json_holds_plain_numbers_only() -> None:
    run: Run = run_of(MLP)
    assert json.loads(json.dumps(as_table(profile(run, 1))))["share_of_matrix_rate"] > 0
