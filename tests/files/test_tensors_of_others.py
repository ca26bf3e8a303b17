"""Weights files of other tools: pickles are told how to convert them, and files that are nearly empty are not read."""

from __future__ import annotations

import json
import shlex
import struct
from pathlib import Path

import pytest
import torch

from gancore import GancoreError
from gancore.files import read_tensors


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_told_how_to_convert_it(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "my weights.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(GancoreError, match="a pickle, which can run code") as raised:
        read_tensors(path)
    assert str(raised.value).endswith(f"gancore convert {shlex.quote(str(path))}")


@pytest.mark.parametrize("size", [2 << 30, 1 << 40])
def test_a_file_of_next_to_nothing_is_not_read(tmp_path: Path, size: int) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    with pytest.raises(GancoreError, match=rf"claims {size >> 30} GiB, of which next to nothing is there"):
        read_tensors(path)


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path = tmp_path / "short.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    with pytest.raises(GancoreError, match="damaged or no safetensors file"):
        read_tensors(path)
