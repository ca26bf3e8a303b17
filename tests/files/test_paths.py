"""A text becomes a path in one place, which says what is wrong with it."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest

from gancore import GancoreError
from gancore.files import as_path, cache_root, toml


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "--out is empty"),
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 30), "File name too long"),
        ("a\0b", "embedded null byte"),
        ("x/" * 1000, "it goes through 1000 folders"),
        ("~nobody-of-this-name/x", "there is no such user"),
    ],
)
def test_a_text_that_is_no_path_gets_a_short_sentence(text: str, why: str) -> None:
    with pytest.raises(GancoreError) as caught:
        as_path(text, "--out")
    assert why in str(caught.value)
    assert str(caught.value).startswith("--out ")
    assert len(str(caught.value)) < 200


def test_a_circle_of_links_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(GancoreError, match="symbolic links"):
        as_path(tmp_path / "a" / "x", "--out")


@pytest.mark.skipif(os.getuid() == 0, reason="root looks into every folder")
def test_a_closed_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(GancoreError, match="Permission denied"):
        as_path(tmp_path / "closed" / "x", "--out")


def test_a_path_need_not_be_there_and_homes_are_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_path("~/runs/new", "--out") == tmp_path / "runs" / "new"
    assert as_path("~root", "--out") == Path(pwd.getpwnam("root").pw_dir)
    assert as_path("runs/a b/~x", "--out") == Path("runs/a b/~x")


def test_a_user_without_a_home_is_told_to_name_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("GANCORE_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(GancoreError, match=r"without GANCORE_CACHE the cache .* this user has no home folder"):
        cache_root()
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path))
    assert cache_root() == tmp_path


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "socket"])
def test_a_recipe_that_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with pytest.raises(GancoreError, match=r"x.toml is no file"):
        toml.read(path)


ENDLESS = {
    "a large file": "# " + "x" * 300_000,
    "lists in lists": "a = " + "[" * 5000 + "]" * 5000,
    "some lists in lists": "a = " + "[" * 40 + "]" * 40,
    "tables in tables": "a = " + "{a = " * 40 + "1" + "}" * 40,
    "a key of many dots": "a." * 20_000 + "a = 1",
    "a header of many dots": "[" + "a." * 20_000 + "a]",
    "many digits": "a = " + "9" * 5000,
    "many digits in another base": "a = 0x" + "f" * 5000,
    "a number of 65 bits": "a = [[18446744073709551616]]",
    "a date": "a = 1979-05-27",
    "a time": "a = {b = [07:32:00]}",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(ENDLESS[kind])
    with pytest.raises(GancoreError, match=r"x.toml is not valid TOML: ") as caught:
        toml.read(path)
    assert len(str(caught.value)) < 400
    if ENDLESS[kind].startswith("a = "):
        with pytest.raises(ValueError, match=r"\w"):
            toml.value(ENDLESS[kind][4:])


def test_a_value_ends_with_its_line() -> None:
    assert toml.value("1\nb = 2") == "1\nb = 2"
    with pytest.raises(ValueError, match="surrogates"):
        toml.value("\udce9")
