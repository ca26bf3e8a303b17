"""Recipe files: a shipped or a tiny one with some of its keys, values, tables or bytes changed."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from random import Random
from typing import Any

from gancore.files import toml
from gancore.registry import registry
from tests.fuzz.inputs import RAW, TEXTS, TINY, Input, installed_recipes, is_wrong, leaves, names, weird, write

BARE = ["", "a.b", "A", "x" * 300, "\x1b[2J", "\u00fc", "use", "schedule", "__class__", "0", "-"]


def make(rng: Random, folder: Path) -> Input:
    """Return a command that reads a mutated recipe."""
    table, tiny = copy.deepcopy(TINY), rng.random() < 0.6
    if not tiny:
        table = toml.read(registry().recipes()[rng.choice(installed_recipes())])
    path = folder / "mutant.toml"
    way = rng.choice([_value, _value, _value, _use, _key, _gone, _moved, _raw, _bytes, _file, _extends])
    about, wrong = way(rng, table, path)
    words = ["explain", "./mutant.toml"]
    if tiny and rng.random() < 0.4 and way in (_value, _use, _moved, _key):
        words = ["train", "./mutant.toml", "--out", "out", "--set", "run.iterations=1", "--device", "cpu"]
        wrong = wrong and "run.iterations" not in about
    return Input(words, about, wrong)


def _at(table: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        table = table[key]
    return table


def _value(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    where, old = rng.choice(leaves(table))
    new = weird(rng)
    _at(table, where)[where[-1]] = new
    write(path, table)
    return f"{'.'.join(where)} is {new!r:.60}", is_wrong(old, new)


def _use(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    places = [where for where, _ in leaves(table) if where[-1] == "use"]
    if not places:
        return _value(rng, table, path)
    where, new = rng.choice(places), rng.choice(names())
    _at(table, where)["use"] = new
    write(path, table)
    return f"{'.'.join(where)} is {new}", False


def _key(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    where, _ = rng.choice(leaves(table))
    new = rng.choice([*BARE, where[-1] + "s", where[-1][:-1]])
    place = _at(table, where)
    place[new] = place.pop(where[-1])
    write(path, table)
    return f"{'.'.join(where)} is called {new!r:.60}", False


def _gone(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    where, _ = rng.choice(leaves(table))
    where = where[: rng.randint(1, len(where))]
    del _at(table, where)[where[-1]]
    write(path, table)
    return f"{'.'.join(where)} is gone", False


def _moved(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    one, two = rng.choice(leaves(table))[0], rng.choice(leaves(table))[0]
    one, two = one[: rng.randint(1, len(one))], two[: rng.randint(1, len(two))]
    moved = copy.deepcopy(_at(table, one)[one[-1]])
    _at(table, two)[two[-1]] = moved
    write(path, table)
    return f"{'.'.join(two)} is what {'.'.join(one)} was", False


def _raw(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    where, _ = rng.choice(leaves(table))
    raw = rng.choice(RAW)
    _at(table, where)[where[-1]] = "@RAW@"
    path.write_bytes(toml.dumps(table).replace('"@RAW@"', raw).encode("utf-8", "surrogatepass"))
    return f"{'.'.join(where)} is written {raw!r:.60}", raw != '"\\u0000"'


def _bytes(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    content = bytearray(toml.dumps(table).encode())
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(content))
        way = rng.randrange(4)
        if way == 0:
            content[at] = rng.randrange(256)
        elif way == 1:
            del content[at : at + rng.randint(1, 40)]
        elif way == 2:
            content[at:at] = rng.randbytes(rng.randint(1, 8))
        else:
            content[at:at] = rng.choice(
                [b"[", b"]", b'"', b"=", b"\n", b".", b"\0", b"#", b"'''", b"[[run]]\n", b"\xef\xbb\xbf"]
            )
        if not content:
            break
    path.write_bytes(bytes(content))
    return "some bytes are others", False


def _file(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    way = rng.choice(["fifo", "device", "folder", "large", "empty", "circle", "dots", "headers"])
    if way == "fifo":
        os.mkfifo(path)
    elif way == "device":
        path.symlink_to(rng.choice(["/dev/zero", "/dev/urandom", "/dev/tty", "/dev/null", "/proc/self/mem"]))
    elif way == "folder":
        path.mkdir()
    elif way == "circle":
        path.symlink_to(path.name)
    else:
        n = rng.choice([50, 1000, 30_000])
        texts = {
            "large": "# x\n" * 500_000,
            "empty": "",
            "dots": "a." * n + "a = 1",
            "headers": "".join(f"[losses.a{i}.{'b.' * 10}c]\n" for i in range(n // 10)),
        }
        path.write_text(texts[way])
    return f"the file is {way}", True


def _extends(rng: Random, table: dict[str, Any], path: Path) -> tuple[str, bool]:
    below = path.parent / "below"
    below.mkdir()
    way = rng.choice(["itself", "circle", "weird", "long", "shipped"])
    if way == "long":
        n = rng.choice([5, 100, 1500])
        for i in range(n):
            (below / f"r{i}.toml").write_text(f'extends = "r{i + 1}.toml"\n')
        write(below / f"r{n}.toml", table)
        base: Any = "below/r0.toml"
    elif way == "circle":
        (below / "b.toml").write_text('extends = "../mutant.toml"\n')
        base = "below/b.toml"
    else:
        base = {"itself": rng.choice(["mutant.toml", "./mutant.toml", "../x/../mutant.toml"])}.get(way)
        base = base or (rng.choice(installed_recipes()) if way == "shipped" else rng.choice(TEXTS))
    write(path, {**table, "extends": base})
    return f"extends {base!r:.60} ({way})", way in ("itself", "circle")
