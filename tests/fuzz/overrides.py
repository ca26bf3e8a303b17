"""What is laid over a sound recipe by a command line: ``--set``, ``--with``, and the other options of a command."""

from __future__ import annotations

from pathlib import Path
from random import Random

from gancore.files import toml
from gancore.recipe import TABLES
from tests.fuzz.inputs import RAW, TEXTS, TINY, Input, installed_recipes, is_wrong, leaves, names, weird, write

KEYS = ["use", "weight", "weights", "trained_by", "inherits", "trained_with", "schedule", "schedules", "reads", "players", "on"]
DEVICES = ["", "gpu", "cuda:99", "cuda:-1", "cpu:7", "meta", "mps", "x" * 300, "auto ", "\x1b[2J"]


def make(rng: Random, folder: Path) -> Input:
    """Return a command line with one or two strange words."""
    name = write(folder / "tiny.toml", TINY) if rng.random() < 0.7 else rng.choice(installed_recipes())
    tiny = name.startswith("./")
    way = rng.choice([_set, _set, _set, _set, _with, _word])
    words, about, wrong = way(rng, tiny)
    train = tiny and rng.random() < 0.3 and way is _set
    if way is _word:
        command = ["train", name, "--set", "run.iterations=1"] if tiny else ["explain", name]
        words = [word for word in words if tiny or word not in ("--out", "--device")]
        return Input([*command, *(words if len(words) > 1 else ["--set", words[0]])], about, wrong and tiny)
    command = ["train", name, *words, "--out", "out", "--device", "cpu", "--set", "run.iterations=1"]
    if train:
        return Input(command, about, wrong and not about.startswith("run.iterations"))
    return Input(["explain", name, *words], about, wrong)


def _value(rng: Random) -> tuple[str, object]:
    if rng.random() < 0.2:
        return rng.choice(RAW), None
    if rng.random() < 0.2:
        return rng.choice(names()), None
    value = weird(rng)
    text = toml._value(value)
    # A word alone is a text, too.
    return (value if isinstance(value, str) and rng.random() < 0.5 else text), value


def _set(rng: Random, tiny: bool) -> tuple[list[str], str, bool]:
    text, value = _value(rng)
    wrong = False
    if rng.random() < 0.6:
        where, old = rng.choice(leaves(TINY))
        key = ".".join(where)
        wrong = tiny and value is not None and text == toml._value(value) and is_wrong(old, value)
    else:
        words = [rng.choice([*TABLES, "summary", "cite", "extends", "nothing"])]
        words += [
            rng.choice(["generator", "adversarial", "x", "Upper", "", *KEYS, *TEXTS[:6]]) for _ in range(rng.randint(0, 3))
        ]
        key = ".".join(words) if rng.random() < 0.95 else "a." * 3000 + "b"
    assignment = f"{key}={text}".replace("\0", "")  # no command line can hold a zero byte
    return ["--set", assignment], f"{key:.80} = {text!r:.80}", wrong and "\0" not in f"{text}"


def _with(rng: Random, tiny: bool) -> tuple[list[str], str, bool]:
    layers = [
        rng.choice([rng.choice(installed_recipes()), rng.choice(TEXTS).replace("\0", "")]) for _ in range(rng.randint(1, 3))
    ]
    return [word for layer in layers for word in ("--with", layer)], f"with {layers!r:.150}", False


def _word(rng: Random, tiny: bool) -> tuple[list[str], str, bool]:
    if rng.random() < 0.5:
        device = rng.choice(DEVICES).replace("\0", "")
        return ["--device", device, "--out", "out"], f"--device {device!r:.60}", device not in ("auto ", "cpu:7")
    out = rng.choice([*TEXTS, "tiny.toml", "tiny.toml/x", "/proc/x", "/dev/null", "x/" * 2000]).replace("\0", "")
    return (
        ["--out", out, "--device", "cpu"],
        f"--out {out!r:.60}",
        out in ("", "x" * 300, "tiny.toml", "tiny.toml/x", "/proc/x"),
    )
