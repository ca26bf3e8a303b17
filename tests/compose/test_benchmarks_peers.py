"""The comparison with other libraries: every contestant steps, on as many parameters as the others."""

from __future__ import annotations

import multiprocessing
import re
import threading
from pathlib import Path

import attrs
import click
import pytest
import torch

from benchmarks import peers
from benchmarks.contestant import Conditions, Contestant
from tests.compose.hosts import CPU

OURS = (peers.FLOAT32, peers.BFLOAT16, peers.TEXTBOOK)


def conditions(network: str, folder: Path, *, width: float = 0.0625, discriminator_steps: int = 1) -> Conditions:
    return Conditions(network, width, 4, discriminator_steps, CPU, folder)


@pytest.mark.parametrize("network", peers.NAMES)
def test_contestants_step_on_as_many_parameters(network: str, tmp_path: Path) -> None:
    contestants = {name: peers.build(name, conditions(network, tmp_path, discriminator_steps=2)) for name in OURS}
    peers.check_same_parameters(contestants)
    for one in contestants.values():
        one.step()


@pytest.mark.parametrize(("network", "sizes"), [("sndcgan", (3_812_355, 2_928_193)), ("resnet", (4_276_739, 1_053_825))])
def test_the_textbook_has_the_papers_networks_at_width_one(network: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    textbook = peers.build(peers.TEXTBOOK, conditions(network, tmp_path, width=1.0))
    assert (textbook.generator, textbook.discriminator) == sizes


@pytest.mark.parametrize("network", peers.NAMES)
@pytest.mark.parametrize("package", peers.PEERS)
@pytest.mark.filterwarnings("default")  # other people's code beside a newer torch
def test_peers_step_on_as_many_parameters_as_gancore(package: str, network: str, tmp_path: Path) -> None:
    pytest.importorskip(peers.PEERS[package], reason=f"{package} is not installed", exc_type=ImportError)
    given = conditions(network, tmp_path, discriminator_steps=2)
    contestants = {name: peers.build(name, given) for name in (peers.FLOAT32, f"{package}, float32")}
    peers.check_same_parameters(contestants)
    for one in contestants.values():
        one.step()


def test_other_parameters_are_no_comparison() -> None:
    with pytest.raises(click.ClickException, match="different numbers of parameters"):
        peers.check_same_parameters({"one": Contestant(print, 1, 2), "other": Contestant(print, 1, 3)})


def test_a_contestants_process_steps_until_the_pipe_is_closed(tmp_path: Path) -> None:
    # In a thread, for a process of its own takes seconds to import torch.
    given = conditions("sndcgan", tmp_path)
    here = peers.build(peers.TEXTBOOK, given)
    pipe, theirs = multiprocessing.Pipe()
    server = threading.Thread(target=peers._serve, args=(theirs, peers.TEXTBOOK, given, torch.get_num_threads()))
    server.start()
    generator, discriminator, work = pipe.recv()
    assert (generator, discriminator) == (here.generator, here.discriminator)
    assert work > 0
    pipe.send(True)
    assert pipe.recv() > 0
    pipe.close()
    server.join(timeout=10)
    assert not server.is_alive()


def test_images_are_those_that_the_discriminator_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = (peers.FLOAT32, peers.BFLOAT16)
    times, work = {name: [0.5, 0.25, 1.0] for name in names}, dict.fromkeys(names, 10**9)
    peers.show(times, conditions("sndcgan", tmp_path, discriminator_steps=5), work, {"float32": 8e9})
    told = capsys.readouterr().out
    assert f"| {peers.FLOAT32} | 500.0 | 40 | 1.0 | 25 % | 1.00 | 1.00 |" in told
    # Of a precision whose rate is not known no share is told.
    assert f"| {peers.BFLOAT16} | 500.0 | 40 | 1.0 |  | 1.00 | 1.00 |" in told


def test_gancore_takes_part_once_more_as_accelerators_run_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = attrs.evolve(conditions("sndcgan", tmp_path), accelerators=("cpu/convolutions",))
    names = [peers.FLOAT32, *peers.ACCELERATED]
    times, work = peers.compare(names, chosen, 1, one_process=True)
    assert [*times] == names
    # What the accelerator computes in another way is the same work.
    assert len(set(work.values())) == 1
    told = capsys.readouterr().out
    assert "float32: cpu/convolutions is off" in told
    assert re.search(r"bfloat16: cpu/convolutions is (on|off)", told)


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(peers, "PEERS", {"nothing": "benchmarks.no_such_module"})
    assert peers.installed() == []
    said = capsys.readouterr().out
    assert "nothing is left out (No module named 'benchmarks.no_such_module'); install it with `pip install" in said
