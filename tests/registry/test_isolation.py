"""A stranger's plugin does nothing to the process, whatever its import or its hooks do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from gancore.registry import Registry, discovery
from gancore.registry.discovery import MOST, Plugin
from gancore.registry.isolation import TooLong, isolated

HOOK = "import gancore\n@gancore.hookimpl\ndef gancore_heads():\n    {body}\n    yield\n"
COMPONENT = "import gancore\n@gancore.hookimpl\ndef gancore_heads():\n    yield gancore.Component({arguments})\n"


@pytest.fixture
def discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugin]:
    """Return a function that discovers a plugin of this code beside the probe plugin, which must be well."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery._asked, "__defaults__", (0.5,))
    monkeypatch.setattr(discovery.yielded, "__defaults__", (0.5,))

    def discover(code: str, name: str = "bad") -> Plugin:
        module = f"stranger_{abs(hash(code + name))}"
        (tmp_path / f"{module}.py").write_text(code)
        points = [metadata.EntryPoint(name, module, "gancore"), metadata.EntryPoint("probe", "tests.probe", "gancore")]
        plugins = {plugin.name: plugin for plugin in Registry.discover(points).plugins()}
        assert plugins["probe"].problem is None
        assert plugins["probe"].warnings == []
        return plugins[name]

    return discover


ENDLESS = {
    "a loop": "while True: pass",
    "a sleep": "import time; time.sleep(3600)",
    "a loop that catches everything": "while True:\n    try:\n        while True: pass\n    except Exception: pass",
    "a hook": HOOK.format(body="while True: pass"),
    "a hook that yields for ever": HOOK.format(body="while True: yield 1"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_does_not_end_is_ended(discovered: Callable[..., Plugin], kind: str) -> None:
    problem = discovered(ENDLESS[kind]).problem
    assert problem is not None
    assert "takes longer than 0.5 seconds" in problem or f"yields more than {MOST:,}" in problem


def test_code_that_catches_the_end_of_its_time_is_told_again() -> None:
    begun = time.monotonic()

    def stubborn() -> None:
        with isolated(print, 0.2):
            try:
                time.sleep(60)
            except BaseException:
                time.sleep(60)

    with pytest.raises(TooLong):
        stubborn()
    assert time.monotonic() - begun < 30


CHANGES = {
    "prints": "import sys\nprint('hello')\nprint('hello', file=sys.stderr)",
    "changes the working folder": "import os\nos.chdir('/')",
    "changes the environment": "import os\nos.environ['HOME'] = '/nowhere'\nos.environ['A_NEW_ONE'] = '1'",
    "changes sys.path": "import sys\nsys.path.clear()",
    "changes signal handlers": (
        "import signal as s\nfor each in (s.SIGTERM, s.SIGALRM, s.SIGINT, s.SIGUSR1): s.signal(each, s.SIG_IGN)"
    ),
}


@pytest.mark.parametrize("did", CHANGES)
@pytest.mark.parametrize("where", ["import", "hook"])
def test_what_a_plugin_changes_is_told_and_undone(
    discovered: Callable[..., Plugin], capfd: pytest.CaptureFixture[str], did: str, where: str
) -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    before = Path.cwd(), dict(os.environ), list(sys.path)
    code = CHANGES[did]
    if where == "hook":
        code = HOOK.format(body=code.replace("\n", "\n    ").replace(": s.signal", ":\n        s.signal"))
        code = code.replace("    yield\n", "    return\n    yield\n")
    plugin = discovered(code)
    assert plugin.problem is None
    what = "importing it" if where == "import" else "its gancore_heads"
    assert plugin.warnings == [f"{what} {did}, which was undone; tell its author."]
    assert (Path.cwd(), dict(os.environ), list(sys.path)) == before
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["core", "gancore", "torch", "Upper", "a b", "\x1b[31mred"])
def test_a_name_that_readers_would_take_for_another_is_refused(discovered: Callable[..., Plugin], name: str) -> None:
    (plugin,) = [
        plugin
        for plugin in Registry.discover([metadata.EntryPoint(name, "tests.probe", "gancore")]).plugins()
        if plugin.name != "probe"
    ]
    assert plugin.problem is not None
    assert "none of core, gancore, torch" in plugin.problem
    assert plugin.components == {}
    assert "\x1b" not in plugin.name + plugin.problem


def test_a_plugins_texts_reach_nobody_with_what_a_terminal_obeys(discovered: Callable[..., Plugin]) -> None:
    arguments = r"'x', 'some.where:X', 'red \x1b[31m\x9b2J\u202e\nError: no', '\x1b]0;title\x07'"
    plugin = discovered(COMPONENT.format(arguments=arguments))
    (component,) = plugin.components["head"]
    assert (component.summary, component.cite) == ("red ?[31m?2J? Error: no", "?]0;title?")
    raising = discovered(r"raise RuntimeError('\x1b[2J\x9b gone')").problem
    assert raising is not None
    assert "RuntimeError: ?[2J? gone" in raising


@pytest.mark.parametrize(
    ("stated", "core", "oldest", "problem", "warning"),
    [
        ("1", 1, 1, None, None),
        ("(1, 3)", 1, 1, None, None),
        ("(1, 3)", 2, 1, None, None),
        ("1", 2, 1, None, "it is written for version 1 of the plugin contract; this gancore has version 2"),
        ("(1, 2)", 3, 2, None, "it is written for version 1 to 2 of the plugin contract; this gancore has version 3"),
        ("(1, 2)", 4, 3, "it is written for version 1 to 2 of the plugin contract, and this gancore has version 4", None),
        ("3", 2, 1, "it is written for version 3 of the plugin contract, and this gancore has version 2", None),
        ("(2, 1)", 2, 1, "its GANCORE_API must be a version of the contract, or the first and the last, not (2, 1)", None),
        ("'1'", 2, 1, "its GANCORE_API must be a version of the contract, or the first and the last, not '1'", None),
    ],
)
def test_an_older_contract_is_warned_of_before_it_is_refused(
    discovered: Callable[..., Plugin],
    monkeypatch: pytest.MonkeyPatch,
    stated: str,
    core: int,
    oldest: int,
    problem: str | None,
    warning: str | None,
) -> None:
    monkeypatch.setattr(discovery, "GANCORE_API", core)
    monkeypatch.setattr(discovery, "OLDEST_API", oldest)
    plugin = discovered(f"GANCORE_API = {stated}\n# {core} {oldest}")
    assert problem in (plugin.problem or "") if problem else plugin.problem is None
    assert [text for text in plugin.warnings if warning and warning in text] == plugin.warnings
    assert bool(plugin.warnings) == bool(warning)


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.modules[__name__] = 3",
        "class Own(Exception):\n    def __str__(self): raise RuntimeError\nraise Own",
        HOOK.format(body="class Own:\n        def __repr__(self): raise RuntimeError\n    yield Own()"),
        COMPONENT.format(arguments="'x', 'a:B', ['s']"),
        COMPONENT.format(arguments="3, 'a:B', 's'"),
        "import gancore\n@gancore.hookimpl\ndef gancore_heads(): return 3",
        "import gancore\n@gancore.hookimpl\ndef gancore_recipes(): return ['x\\0y']",
    ],
)
def test_what_is_no_plugin_at_all_hurts_nobody(discovered: Callable[..., Plugin], code: str) -> None:
    plugin = discovered(code)
    assert plugin.problem or plugin.components
