"""Declaring modules of plugins: a sound one with some of its lines changed, or with a line that no plugin should have."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.fuzz.inputs import TEXTS, TINY, Input, write

SOUND = """import gancore
from gancore import Component, hookimpl
from pathlib import Path

GANCORE_API = 1


@hookimpl
def gancore_loss_terms():
    yield Component("idea", "tests.standin.losses:Hinge", "A loss", "arXiv:1")


@hookimpl
def gancore_heads():
    yield Component("head", "tests.standin.networks:Linear", "A head")


@hookimpl
def gancore_recipes():
    yield Path(__file__).parent


@hookimpl
def gancore_doctor():
    yield "a line"


@hookimpl
def gancore_commands():
    yield Component("greet", "tests.standin.losses:Hinge", "No command")
"""
LINES = [
    "raise KeyboardInterrupt",
    "raise SystemExit(0)",
    "raise GeneratorExit",
    "raise MemoryError",
    "raise RecursionError",
    "raise Exception('x' * 100_000)",
    "raise Exception('\\x1b[2J\\n\\nError: no')",
    "class E(BaseException):\n    def __str__(self): raise E\nraise E",
    "import os; os.chdir('/')",
    "import os; os.environ.clear()",
    "import sys; sys.path.clear()",
    "import sys; sys.exit()",
    "import sys; sys.stdout = None",
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "import signal; signal.alarm(1)",
    "print('hello' * 1000)",
    "import torchnothing",
    "GANCORE_API = 2",
    "GANCORE_API = 'x' * 5000",
    "GANCORE_API = (0, 10**5000)",
    "GANCORE_API = (1, 1, 1)",
    "GANCORE_API = [1]",
    "GANCORE_API = float('nan')",
    "gancore_heads = 3",
    "gancore_samplers = print",
    "del gancore_heads",
    "def gancore_losses(): yield",
    "@hookimpl\ndef gancore_los(): yield",
    "@hookimpl\ndef gancore_samplers(x): yield",
    "@hookimpl\ndef gancore_samplers(*, run): yield",
    "@hookimpl\ndef gancore_samplers(): return 3",
    "@hookimpl\ndef gancore_samplers(): return 'text'",
    "@hookimpl\ndef gancore_samplers(): yield gancore_samplers",
    "@hookimpl\ndef gancore_samplers():\n    while True: yield Component('x', 'a:b', 'c')",
    "@hookimpl\ndef gancore_samplers():\n    yield type('C', (Component,), {'name': property(print)})('x', 'a:b', 'c')",
    "@hookimpl\ndef gancore_samplers(): yield Component('x' * 100_000, 'a:b', 'c' * 100_000)",
    "@hookimpl\ndef gancore_samplers(): yield Component('x', 'a:b', '\\x1b[2J\\u202e\\n')",
    "@hookimpl\ndef gancore_samplers(): yield Component('x', 'os:system', 'c')",
    "@hookimpl\ndef gancore_latents(): yield Component('normal', 'a.b.c:d.e', 'c')",
    "import sys; sys.modules[__name__] = None",
    "__getattr__ = None",
    "x = y",
    "(",
    "\\",
]
WORDS = [
    ["plugins"],
    ["components"],
    ["recipes"],
    ["--help"],
    ["explain", "./tiny.toml", "--set", "losses.x.use=stranger/idea"],
    ["explain", "./tiny.toml", "--set", "samplers.x.use=stranger/x"],
    ["explain", "./tiny.toml", "--set", "heads.adversarial.use=stranger/head"],
    ["explain", "./tiny.toml", "--with", "stranger/tiny"],
    ["show", "stranger/idea"],
    ["show", "stranger/x"],
    ["greet"],
]


def make(rng: Random, folder: Path) -> Input:
    """Return a command with a mutated plugin installed."""
    write(folder / "tiny.toml", TINY)
    lines = SOUND.splitlines()
    about = []
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        way = rng.randrange(5)
        if way < 3:
            line = rng.choice(LINES)
            about.append(f"has the line {line!r:.80}")
            lines.append(line)
        elif way == 3:
            about.append(f"lacks the line {lines[at]!r}")
            del lines[at]
        else:
            text = rng.choice(TEXTS).replace("\n", " ").replace("\0", "")
            about.append(f"has {text!r:.60} in a line")
            cut = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + text + lines[at][cut:]
    return Input(list(rng.choice(WORDS)), "the plugin " + ", and ".join(about), plugin="\n".join(lines))
