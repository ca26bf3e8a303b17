"""Files of tensors: what is written comes back, and what is not what was written is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gancore import GancoreError
from gancore.errors import refusal
from gancore.files import read_tensors, write_tensors

TENSORS: dict[str, Tensor] = {
    "weight": torch.arange(12, dtype=torch.float32).view(3, 4),
    "half": torch.ones(5, dtype=torch.bfloat16),
    "steps": torch.tensor(7),
}
HEADER = {"about": "a test", "numbers": [1, 2.5]}


def written(path: Path) -> Path:
    write_tensors(path, TENSORS, HEADER)
    return path


def test_a_file_that_can_not_be_opened_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    def miss(*_: object, **__: object) -> None:
        raise FileNotFoundError(f"No such file or directory: {path}")  # which safetensors says of it

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("gancore.files.tensors.safe_open", miss)
    with pytest.raises(PermissionError) as error:
        read_tensors(path)
    assert str(refusal(error.value)) == f"{path} can't be read or written: Permission denied; mend that, and try again."


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    tensors, header = read_tensors(written(tmp_path / "t.safetensors"), sealed=True)
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items())


def test_the_same_content_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    assert len({written(tmp_path / f"{number}.safetensors").read_bytes() for number in range(20)}) == 1


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "t.safetensors")
    content, rng = path.read_bytes(), random.Random(0)
    for place in [*range(len(content) - 70, len(content)), *rng.sample(range(len(content)), 150)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(GancoreError, match=r"t\.safetensors (is damaged|carries no digest)"):
            read_tensors(path, sealed=True)


def test_tensors_of_another_tool_are_read_unless_a_digest_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    assert read_tensors(path)[0].keys() == TENSORS.keys()
    with pytest.raises(GancoreError, match="carries no digest of its content"):
        read_tensors(path, sealed=True)


@pytest.mark.parametrize("change", ["value", "type", "shape", "name", "missing", "header"])
def test_content_that_was_exchanged_under_a_digest_is_refused(tmp_path: Path, change: str) -> None:
    from safetensors import safe_open

    path = written(tmp_path / "t.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = dict(TENSORS)
    weight = tensors.pop("weight")
    if change == "header":
        metadata["gancore"] = metadata["gancore"].replace("a test", "another")
    if change != "missing":
        other = {"value": weight + 1, "type": weight.to(torch.int32), "shape": weight.view(4, 3)}.get(change, weight)
        tensors["wieght" if change == "name" else "weight"] = other
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(GancoreError, match="is damaged: its content is not what its digest says"):
        read_tensors(path)
