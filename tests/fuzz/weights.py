"""Files of weights that a recipe starts from, or that are converted: damaged, others', or made to do harm."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.damage import damage
from tests.fuzz.inputs import TEXTS, Input
from tests.fuzz.run_folders import trained


class Hostile:
    """Writes a file when it is unpickled; no input may have that happen."""

    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("harm"), "done"))


def make(rng: Random, folder: Path) -> Input:
    """Return a training that starts from weights, or their conversion, after something was done to the file."""
    shutil.copytree(trained(), folder, dirs_exist_ok=True)
    path = folder / "c.st"
    if rng.random() < 0.15:
        return _training(rng, rng.choice(TEXTS).replace("\0", ""), "some text")
    way: Callable[[Random, Path], str] = rng.choice([damage, damage, _header, _sparse, _saved, _saved, _archive, _pickled])
    about = way(rng, path)
    if rng.random() < (0.7 if way in (_saved, _archive, _pickled) else 0.1):
        more = rng.choice(
            [[], [], ["--key", rng.choice(TEXTS).replace("\0", "")], ["--out", rng.choice(["x/y.safetensors", "c.st", "."])]]
        )
        return Input(["convert", "c.st", *more], f"the file is {about}")
    return _training(rng, "c.st", about)


def _training(rng: Random, weights: str, about: str) -> Input:
    place = rng.choice(["networks.classifier", "networks.generator", "heads.adversarial"])
    words = ["train", "./tiny.toml", "--out", "out", "--device", "cpu", "--set", "run.iterations=1"]
    return Input([*words, "--set", f"{place}.weights={weights}"], f"the weights of {place} are {about}")


def _header(rng: Random, path: Path) -> str:
    """Change what the header of a safetensors file says."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name = rng.choice([name for name in header if name != "__metadata__"])
    changes: dict[str, Any] = {
        "dtype": rng.choice(["F64", "I8", "BOOL", "F4", "", 3, None]),
        "shape": rng.choice([[], [0], [-1], [2**62, 2], [1] * 70, "x", [1.5], None]),
        "data_offsets": rng.choice([[0, 0], [0, 2**63], [5, 3], [-1, 4], [], "x", [0, length]]),
        "more": 1,
    }
    key = rng.choice(list(changes))
    how = rng.randrange(4)
    if how == 0:
        header["__metadata__"] = rng.choice(
            [3, {"gancore": "{"}, {"gancore": "[]"}, {"gancore-digest": "0" * 64}, {"x": 3}, None]
        )
    elif how == 1:
        header["\x1b[2J" * 9] = header.pop(name)
    elif how == 2:
        header[name] = rng.choice([3, None, [], {}])
    else:
        header[name] = {**header[name], key: changes[key]}
    text = json.dumps(header).encode()
    size = rng.choice([len(text)] * 5 + [0, 2**63, len(text) - 3])
    path.write_bytes(struct.pack("<Q", size) + text + content[8 + length :])
    return f"with another header ({key}, {how})"


def _sparse(rng: Random, path: Path) -> str:
    size = rng.choice([1 << 31, 1 << 36, 1 << 40])
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return f"{size >> 30} GiB of nothing"


def _saved(rng: Random, path: Path) -> str:
    """Save something by torch.save."""
    import torch

    state = {"a": torch.zeros(2, 3), "b": torch.ones(())}
    contents: list[Any] = [state, {"state_dict": state}, {"g": state, "d": state}, {"x": 1}, [1], 3, None, {1: torch.zeros(1)}]
    contents += [
        {"a": Hostile()},
        Hostile(),
        torch.nn.Linear(1, 1),
        {"a": torch.eye(2).to_sparse()},
        {"x" * 5000: torch.zeros(1)},
    ]
    contents += [{f"\x1b[2J{i}": state for i in range(50)}, {"a": torch.zeros(1, dtype=torch.complex64)}, {"": torch.zeros(1)}]
    place = rng.randrange(len(contents))
    torch.save(contents[place], path, _use_new_zipfile_serialization=rng.random() < 0.6)
    return f"of torch.save ({place})" + (f", {damage(rng, path)}" if rng.random() < 0.3 else "")


def _archive(rng: Random, path: Path) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in rng.choice([["data.pkl"], ["archive/data.pkl", "archive/version"], ["../x", "/etc/x"], []]):
            archive.writestr(name, rng.choice([b"", bytes(1 << 24), pickle.dumps(Hostile(), protocol=2), rng.randbytes(50)]))
    return "an archive"


def _pickled(rng: Random, path: Path) -> str:
    path.write_bytes(
        pickle.dumps(rng.choice([Hostile(), {"a": Hostile()}, [1], {"a": b"x" * 999}]), protocol=rng.choice([2, 4]))
    )
    return "a pickle"
