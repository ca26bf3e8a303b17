"""Weights of torch.save: read without running what they hold, and converted."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from gancore_standard.conversion import convert
from gancore_standard.torch_files import read_state
from torch import nn

from gancore import GancoreError
from gancore.tools import read_tensors


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def run(*words: object) -> Result:
    return CliRunner().invoke(convert, [str(word) for word in words], catch_exceptions=True)


def refused(*words: object) -> str:
    result = run(*words)
    assert isinstance(result.exception, GancoreError), result.output
    assert len(str(result.exception)) <= 400 + 3 * len(str(words[0]))
    return str(result.exception)


STATE = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (STATE, []),
        ({f"module.{name}": value for name, value in STATE.items()}, []),
        ({f"_orig_mod.module.{name}": value for name, value in STATE.items()}, []),
        ({"epoch": 3, "state_dict": STATE, "optimizer": {"lr": 0.1}}, []),
        ({"g": {"x": torch.zeros(1)}, "g_ema": STATE}, ["--key", "g_ema"]),
        ({"g": {"x": torch.zeros(1)}, "d": {"x": torch.zeros(1)}, "g_ema": STATE}, []),
        ({"model": {"x": torch.zeros(1)}, "ema_model": STATE}, []),
        ({"optimizer": {"x": torch.zeros(1)}, "net": STATE}, []),
        ({"a": {"b": {"state_dict": STATE}}, "epoch": 3}, []),
        ({"a": {"x": torch.zeros(1)}, "b": {"c": STATE}}, ["--key", "b.c"]),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_comes_out_as_it_was_saved(file: Path, content: Any, words: list[str], zipped: bool) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    result = run(file, *words)
    assert result.exit_code == 0, result.output
    assert "7 tensors" in result.output
    tensors, header = read_tensors(file.with_suffix(".safetensors"), sealed=True)
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)
    assert header["converted_from"] == "weights.pth"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (STATE, "7 tensors, in"),
        ({"epoch": 1, "g": {"x": torch.zeros(1)}, "g_ema": {f"module.{k}": v for k, v in STATE.items()}}, None),
        ({f"_orig_mod.{name}": value for name, value in STATE.items()}, "7 tensors, without the prefix '_orig_mod.', in"),
    ],
)
def test_what_is_taken_is_said(file: Path, content: Any, said: str | None) -> None:
    torch.save(content, file)
    assert (said or "7 tensors of g_ema, without the prefix 'module.', in") in run(file).output


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_who_reads_a_pickle_as_weights_is_told_of_this_command(file: Path, protocol: int, zipped: bool) -> None:
    torch.save(STATE, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(GancoreError, match=f"convert it to safetensors: gancore convert {file}$"):
        read_tensors(file)


def test_names_that_only_some_weights_begin_with_are_theirs(file: Path) -> None:
    torch.save({"module.a": torch.zeros(1), "b": torch.ones(1)}, file)
    assert run(file, "--out", file.with_name("x.safetensors")).exit_code == 0
    assert read_tensors(file.with_name("x.safetensors"))[0].keys() == {"module.a", "b"}


def test_tensors_of_one_memory_are_converted(file: Path) -> None:
    whole = torch.arange(6.0)
    torch.save({"a": whole[:3], "b": whole[3:], "c": whole.view(2, 3).T}, file)
    assert run(file).exit_code == 0
    assert read_tensors(file.with_suffix(".safetensors"))[0]["c"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ([1, 2], [], "holds no state dict"),
        ({}, [], "holds no state dict"),
        ({"a": 1}, [], "holds no state dict"),
        ({"g": STATE, "d": STATE}, [], "several state dicts; choose one by --key: g, d"),
        ({"g": STATE, "d": STATE}, ["--key", "x"], "no state dict 'x'; it has: g, d"),
        ({"g_ema": STATE, "d_ema": STATE, "model": STATE}, [], "several state dicts; choose one by --key: g_ema, d_ema, model"),
        ({"a": {"b": {"c": {"d": STATE}}}}, [], "holds no state dict"),
        (STATE, ["--key", "x"], "holds no state dict"),
        ({f"net{i}": STATE for i in range(900)}, [], "several state dicts; choose one by --key: net0, "),
    ],
)
def test_what_is_no_state_dict_is_refused(file: Path, content: Any, words: list[str], message: str) -> None:
    torch.save(content, file)
    assert message in refused(file, *words)
    assert not file.with_suffix(".safetensors").exists()


@pytest.mark.parametrize("where", ["state", "nested", "bare"])
def test_code_in_a_file_is_not_run(file: Path, where: str) -> None:
    hostile = Hostile(file.with_name("victim"))
    content: Any = {"state": {"a": torch.zeros(1), "b": hostile}, "nested": {"state_dict": STATE, "x": [hostile]}}.get(where)
    if where == "bare":
        file.write_bytes(pickle.dumps(hostile, protocol=2))
    else:
        torch.save(content, file)
    assert "damaged" in refused(file)
    assert not file.with_name("victim").exists()


def test_a_whole_network_is_not_unpickled(file: Path) -> None:
    torch.save(nn.Linear(2, 2), file)
    assert "save the network's state_dict() alone" in refused(file)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 cut short", b"\x80\x02", b"no weights", b"\x80\x02" + bytes(99)])
def test_damaged_files_are_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "damaged" in refused(file)


def test_what_is_there_stays(file: Path) -> None:
    torch.save(STATE, file)
    file.with_suffix(".safetensors").write_text("mine")
    assert "is there already; choose another file by --out" in refused(file)
    assert file.with_suffix(".safetensors").read_text() == "mine"
    assert "there is no weights file" in refused(file.with_name("nowhere.pth"))


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_not_unpacked(file: Path) -> None:
    torch.save({"a": torch.zeros(4 << 20)}, file)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(file.with_name("bomb.pth"), "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in archive.infolist():
            bomb.writestr(member.filename, archive.read(member))
    with pytest.raises(GancoreError, match=r"unpacks to 0\.0 GiB, 8 times its size and more"):
        read_state(file.with_name("bomb.pth"))


def test_tensors_that_safetensors_does_not_hold_are_refused(file: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, file)
    assert "holds tensors that safetensors can't" in refused(file)
    assert list(file.parent.iterdir()) == [file]
