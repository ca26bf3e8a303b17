"""What happens to a file or a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

WAYS = ["cut", "flipped", "noise", "empty", "gone", "fifo", "folder", "device", "circle", "text", "appended", "inserted"]


def damage(rng: Random, path: Path) -> str:
    """Damage a file in some way and say how."""
    way = rng.choice(WAYS)
    content = bytearray(path.read_bytes())
    if way in ("gone", "fifo", "folder", "device", "circle"):
        path.unlink()
        if way == "fifo":
            os.mkfifo(path)
        elif way == "folder":
            path.mkdir()
        elif way == "device":
            path.symlink_to("/dev/zero")
        elif way == "circle":
            path.symlink_to(path.name)
        return way
    if way == "cut":
        del content[rng.randrange(len(content) + 1) :]
    elif way == "flipped":
        for _ in range(rng.choice([1, 1, 20])):
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "noise":
        content = bytearray(rng.randbytes(rng.choice([1, 100, len(content)])))
    elif way == "empty":
        content = bytearray()
    elif way == "text":
        content = bytearray(rng.choice([b"{}", b"[]", b"null\n", b"3", b'{"a": ' * 5000, b"\xff\xfe", b"[" * 100_000, b'""']))
    elif way == "appended":
        content += rng.choice(
            [b"\n{}\n", b"\xff", b"garbage", b'{"iteration": 1e999}\n', b'{"iteration": "x"}\n', b"\0" * 5000]
        )
    else:
        at = rng.randrange(len(content) + 1)
        content[at:at] = rng.randbytes(rng.randint(1, 50))
    path.write_bytes(bytes(content))
    return way


def damage_one_of(rng: Random, folder: Path) -> str:
    """Damage one file below a folder and say which and how."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    if rng.random() < 0.05 and path.parent != folder:
        shutil.rmtree(path.parent)
        path.parent.write_bytes(b"")
        return f"{path.parent.relative_to(folder)} is a file"
    return f"{path.relative_to(folder)} is {damage(rng, path)}"
