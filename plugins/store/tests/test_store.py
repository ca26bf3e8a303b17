"""A store holds what its source does, whoever writes it and however often that is ended; what is wrong is one sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gancore_store.preparing as preparing
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_standard.datasets import ImageFolder
from gancore_store.prepared import Prepared, StoredImages
from gancore_store.shards import write_shard
from gancore_training import holding
from gancore_training.lock import _started
from PIL import Image
from safetensors.torch import load_file

from gancore import GancoreError
from gancore.cli.main import main
from gancore.tools import load_split

SHARD = 1200
"""Bytes of a shard here: six images of 8 px."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of all kinds: color, gray, transparent, with a palette, of 16 bits, and turned by EXIF."""
    root = tmp_path_factory.mktemp("source") / "set"
    pixels = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for at in range(30):
        folder = root / ("train" if at % 5 else "test") / "ab"[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        color = Image.fromarray(pixels.integers(0, 256, (9 + at % 4, 14, 3), dtype=np.uint8))
        if at % 6 == 0:
            color.save(folder / f"{at}.jpg", exif=exif)
        elif at % 6 == 1:
            color.convert("L").save(folder / f"{at}.png")
        elif at % 6 == 2:
            Image.fromarray(pixels.integers(0, 256, (9, 9, 4), dtype=np.uint8), "RGBA").save(folder / f"{at}.png")
        elif at % 6 == 3:
            color.convert("P").save(folder / f"{at}.gif")
        elif at % 6 == 4:
            Image.fromarray(pixels.integers(0, 65536, (11, 9), dtype=np.uint16)).save(folder / f"{at}.png")
        else:
            color.save(folder / f"{at}.webp", lossless=True)
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "SHARD", SHARD)


def prepare(source: Path | str, out: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["prepare", str(source), "--out", str(out), "--size", "8", "--workers", "1", *words])


def prepared(source: Path | str, out: Path, *words: str) -> Path:
    result = prepare(source, out, *words)
    assert result.exit_code == 0, result.output
    return out


def two_classes(where: Path) -> Path:
    """Return a folder of two pictures of 8 px, without any to test on."""
    root = where / "set" / "train"
    for name, color in (("a", "red"), ("b", "blue")):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), color).save(root / name / "0.png")
    return root


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a store that one process has written at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "SHARD", SHARD)
        return content(prepared(source, tmp_path_factory.mktemp("stores") / "undisturbed"))


# -- what is in it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["pixels", "files", "webp"])
def test_exact_encodings_hold_the_folder_to_the_last_bit(source: Path, tmp_path: Path, encoding: str) -> None:
    store = prepared(source, tmp_path / "store", "--encoding", encoding)
    folder = ImageFolder(path=str(source), image_size=8, keep="nothing")
    assert Prepared(path=str(store)).info == folder.info
    for split in ("train", "test"):
        images, labels = load_split(folder, split)
        for keep in ("pixels", "nothing"):
            stored, own = load_split(Prepared(path=str(store), keep=keep), split)
            assert isinstance(stored, torch.Tensor) == (keep == "pixels")
            assert torch.equal(stored[:], images[:])
            assert torch.equal(own, labels)
    assert Prepared(path=str(store)).protocol() == {"data": "standard/image-folder"}


def test_a_lossy_encoding_is_near_and_told(source: Path, tmp_path: Path) -> None:
    store = Prepared(path=str(prepared(source, tmp_path / "store", "--encoding", "jpeg95")))
    images, _ = ImageFolder(path=str(source), image_size=8, keep="nothing").load("train")
    apart = (store.load("train")[0][:].float() - images[:].float()).abs()
    assert 0 < apart.mean() < 8
    assert store.protocol() == {"data": "standard/image-folder", "data_encoding": "jpeg95"}


def test_sets_without_files_are_stored_too(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    store = tmp_path / "store"
    result = CliRunner().invoke(main, ["prepare", "standard/digits", "--out", str(store), "--workers", "1"])
    assert result.exit_code == 0, result.output
    images, labels = load_split(Prepared(path=str(store)), "test")
    from gancore_standard.datasets import Digits

    assert torch.equal(images[:], Digits().load("test")[0])
    assert torch.equal(labels, Digits().load("test")[1])
    assert len(list(store.glob("train-*"))) > 1


def test_the_files_of_lsun_are_packed_too(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb", reason='LSUN needs it: pip install "gancore-plugin-standard[lsun]"')
    for split in ("train", "val"):
        folder = tmp_path / "lsun" / f"kitchen_{split}_lmdb"
        folder.mkdir(parents=True)
        with lmdb.open(str(folder), map_size=1 << 22) as database, database.begin(write=True) as writer:
            for at in range(4):
                Image.new("RGB", (9, 12), (at * 40, 3, len(split))).save(tmp_path / "one.webp", lossless=True)
                writer.put(f"{at}".encode(), (tmp_path / "one.webp").read_bytes())
    words = ["--encoding", "files", "--set", f"root={tmp_path}", "--set", 'categories=["kitchen"]']
    store = prepared("standard/lsun", tmp_path / "store", *words)
    from gancore_standard.datasets import LsunClasses

    for split in ("train", "test"):
        images, _ = LsunClasses(root=str(tmp_path), categories=("kitchen",), image_size=8).load(split)
        assert torch.equal(load_split(Prepared(path=str(store)), split)[0][:], images[:])


def test_any_reader_of_safetensors_opens_a_shard(source: Path, tmp_path: Path) -> None:
    store = prepared(source, tmp_path / "store")
    shard = load_file(sorted(store.glob("train-*"))[0])
    assert shard["ends"].tolist() == [192 * (i + 1) for i in range(6)]
    assert shard["images"].shape == (6 * 192,)
    assert shard["labels"].dtype == torch.int64


# -- who writes it -----------------------------------------------------------------------------------------------------


def test_parts_in_any_order_write_the_same_bytes(source: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    for part in ("3/3", "1/3", "2/3"):
        prepared(source, tmp_path / "store", "--part", part)
    assert content(tmp_path / "store") == undisturbed


SLOW = """
import sys, time
import gancore_store.preparing as preparing
from gancore.cli.main import main
preparing.SHARD = {shard}
write_shard = preparing.write_shard
def slow(*arguments):
    time.sleep(0.1)
    write_shard(*arguments)
preparing.write_shard = slow
main(sys.argv[1:])
"""


def test_a_killed_process_leaves_what_others_go_on_with(source: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "store"
    words = ["prepare", str(source), "--out", str(out), "--size", "8", "--workers", "1"]
    command = [sys.executable, "-c", SLOW.format(shard=SHARD), *words]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not list(out.glob("train-*")):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    left = {path: path.stat().st_ino for path in out.glob("*.safetensors")}
    assert left
    if not (out / "store.json").exists():  # Unless it was faster than the signal.
        with pytest.raises(GancoreError, match="is not whole; go on by the same"):
            assert Prepared(path=str(out)).info
    prepared(source, out)
    assert content(out) == undisturbed
    assert {path: path.stat().st_ino for path in left} == left  # What was whole has not been written again.


@pytest.fixture
def another_host(tmp_path: Path) -> Iterator[Path]:
    """A process that takes itself for another host and is at the second shard, which it never writes."""
    shard = tmp_path / "store" / "train-00001-of-00004.safetensors"
    lines = (
        "import sys, time, gancore_store.preparing as preparing, gancore_training.lock as lock",
        "lock.place = lambda: 'another host'",
        "with preparing.holding(preparing._claim(preparing.Path(sys.argv[1]))):",
        "    print(flush=True)",
        "    time.sleep(60)",
    )
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines), str(shard)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield shard
        process.kill()


def test_a_shard_that_another_host_writes_is_left_to_it_until_it_is_dead(
    another_host: Path, source: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[list[str]] = []

    def sleep(seconds: float) -> None:
        """Instead of waiting, see what is there, and let the other host be silent for long."""
        slept.append(sorted(path.name for path in another_host.parent.glob("*.safetensors")))
        os.utime(another_host.with_name(f".{another_host.stem}.claim") / "in-use", (0, 0))

    monkeypatch.setattr(time, "sleep", sleep)
    prepared(source, tmp_path / "store")
    assert [another_host.name in names for names in slept] == [False]
    assert sorted(slept[0] + [another_host.name]) == [name for name in undisturbed if name.endswith(".safetensors")]
    assert content(tmp_path / "store") == undisturbed


FILLED = """
import os, resource, subprocess, sys
from pathlib import Path
import gancore_store.preparing as preparing
from click.testing import CliRunner
from gancore.cli.main import main
preparing.SHARD = {shard}
out = Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir()
mount = ["mount", "-t", "tmpfs", "-o", "size=20k", "none", str(out)]
mounted = subprocess.run(mount, capture_output=True).returncode == 0
if not mounted:  # no full disk can be had, but a file that may not grow
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 2, result.output
print(result.output)
left = sorted(path.name for path in out.iterdir() if path.stat().st_size)
assert "begun.json" in left and "store.json" not in left and not any(name.startswith(".") for name in left), left
assert len(left) == (4 if mounted else 1), left
if mounted:
    subprocess.run(["mount", "-o", "remount,size=1m", str(out)], check=True)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
out.with_name("copy").mkdir()
for path in out.iterdir():
    (out.with_name("copy") / path.name).write_bytes(path.read_bytes())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_full_disk_is_a_sentence_and_what_is_written_stays(
    source: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    words = ["prepare", str(source), "--out", str(tmp_path / "store"), "--size", "8", "--workers", "1"]
    command = [sys.executable, "-c", FILLED.format(shard=SHARD), *words]
    apart = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") and subprocess.run([*apart, "true"], capture_output=True).returncode == 0:
        command = [*apart, *command]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert re.search(r"safetensors can't be written: (No space left on device|File too large); free space there, or", said)
    assert said.endswith("and prepare again: what is written stays.")
    assert len(said.split("Error: ")[1]) <= 400
    assert content(tmp_path / "copy") == undisturbed


# -- what is wrong -----------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"12345")


def write_nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense" * 400)


@pytest.mark.parametrize("damage", [cut, lengthen, write_nonsense, Path.unlink])
def test_a_damaged_shard_is_a_sentence_and_is_written_anew(
    source: Path, tmp_path: Path, undisturbed: dict[str, bytes], damage: Callable[[Path], Any]
) -> None:
    store = prepared(source, tmp_path / "store")
    damage(sorted(store.glob("train-*"))[1])
    with pytest.raises(
        GancoreError, match=r"train-00001-of-00004.safetensors is (damaged|missing).* prepare the store again"
    ) as it:
        Prepared(path=str(store)).load("train")
    assert len(str(it.value)) <= 400
    assert "1 shards" in prepare(source, store).output
    assert content(store) == undisturbed


def test_a_changed_pixel_is_seen_by_who_prepares_again(source: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    store = prepared(source, tmp_path / "store")
    path = sorted(store.glob("train-*"))[2]
    content_before = bytearray(path.read_bytes())
    content_before[-1] ^= 1
    path.write_bytes(content_before)
    assert "1 shards" in prepare(source, store).output
    assert content(store) == undisturbed


def test_a_shard_that_goes_while_it_is_read_is_told(source: Path, tmp_path: Path) -> None:
    images, _ = Prepared(path=str(prepared(source, tmp_path / "store")), keep="nothing").load("train")
    assert isinstance(images, StoredImages)
    sorted((tmp_path / "store").glob("train-*"))[1].unlink()
    with pytest.raises(GancoreError, match=r"train-00001-of-00004.safetensors is damaged \(No such file"):
        images.read(torch.tensor([7]))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--encoding", "webp"], "was begun with another encoding (pixels); choose another --out."),
        (["--size", "9"], "was begun with another image_size (8)"),
        (["--part", "4/3"], "--part '4/3' is no part; write it as 1/4"),
        (["--set", "chanels=1"], "chanels"),
    ],
)
def test_other_settings_than_it_was_begun_with_are_refused(
    source: Path, tmp_path: Path, words: list[str], problem: str
) -> None:
    result = prepare(source, prepared(source, tmp_path / "store"), *words)
    assert result.exit_code == 2
    assert problem in " ".join(result.output.split())


def test_a_changed_source_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in "ab":
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / name / "0.png")
    store = prepared(root, tmp_path / "store", "--set", "test_fraction=0")
    Image.new("RGB", (8, 8)).save(root / "b" / "1.png")
    result = prepare(root, store, "--set", "test_fraction=0")
    assert result.exit_code == 2
    assert "is another than it was when the store was begun" in " ".join(result.output.split())


@pytest.mark.parametrize("encoding", ["pixels", "files"])
def test_images_that_can_not_be_read_are_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "broken.png").write_bytes(b"\x89PNG")
    result = prepare(tmp_path / "set", tmp_path / "store", "--set", "test_fraction=0", "--encoding", encoding)
    assert result.exit_code == 2
    assert "a/broken.png can't be read" in result.output.replace("\n", "")


def test_files_are_asked_of_folders_alone_and_a_strange_folder_is_left(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    words = ["prepare", "standard/digits", "--out", str(tmp_path / "digits"), "--encoding", "files"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "is for folders of images" in result.output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    result = prepare(source, tmp_path / "mine")
    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "nonsense"])
def test_a_damaged_description_is_a_sentence(source: Path, tmp_path: Path, text: str) -> None:
    store = prepared(source, tmp_path / "store")
    (store / "store.json").write_text(text)
    with pytest.raises(GancoreError, match=r"store.json is damaged; delete it"):
        Prepared(path=str(store)).load("train")
    assert prepare(source, store).exit_code == 2


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"There is no store .*nowhere; correct \[data\] path"):
        Prepared(path=str(tmp_path / "nowhere")).load("train")


# -- what a hostile hand does -------------------------------------------------------------------------------------------


WRONG: list[Any] = [None, 0, -1, 1, 2, 10**30, 1.5, True, "x", "", [], {}]


def values_of(table: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in table if isinstance(table, dict) else range(len(table)) if isinstance(table, list) else ():
        yield (*above, key)
        yield from values_of(table[key], (*above, key))


@pytest.mark.parametrize("encoding", ["pixels", "files"])
def test_whatever_stands_in_a_description_is_read_or_is_a_sentence(source: Path, tmp_path: Path, encoding: str) -> None:
    store = prepared(source, tmp_path / "store", "--encoding", encoding)
    text, refused = (store / "store.json").read_text(), 0
    for place in values_of(json.loads(text)):
        for value in WRONG:
            about = json.loads(text)
            table = about
            for key in place[:-1]:
                table = table[key]
            table[place[-1]] = value
            (store / "store.json").write_text(json.dumps(about))
            try:
                load_split(Prepared(path=str(store)), "train")
            except GancoreError as error:
                refused += len(str(error)) <= 400
    assert refused > 200


@pytest.mark.parametrize("encoding", ["pixels", "files"])
def test_tables_of_a_shard_that_make_no_sense_are_damage(source: Path, tmp_path: Path, encoding: str) -> None:
    store = prepared(source, tmp_path / "store", "--encoding", encoding)
    path = sorted(store.glob("train-*"))[0]
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    images = len(load_file(path)["ends"])
    # The end of an image, so that its size is none, or would take all memory; and a label that no class has.
    for at, byte in ((start, 1), (start + 8, 255), (start + 6, 127), (start + 8 * images, 2), (start + 8 * images + 7, 255)):
        path.write_bytes(content[:at] + bytes([content[at] ^ byte]) + content[at + 1 :])
        with pytest.raises(GancoreError, match=r"is damaged .*; prepare the store again"):
            Prepared(path=str(store)).load("train")[0][:]


def test_a_store_is_never_put_among_the_classes_of_its_source(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    for out in (root, root / "store", root / "a" / "store"):
        before = sorted(root.rglob("*"))
        result = prepare(root, out)
        assert result.exit_code == 2
        assert "where it would be taken for a class of images" in " ".join(result.output.split())
        assert sorted(root.rglob("*")) == before
    prepared(root, root / ".store")


def test_who_begins_waits_for_who_is_about_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other has looked whether there is a description, and has not written its own yet."""
    root, store = two_classes(tmp_path), tmp_path / "store"
    store.mkdir()
    with ExitStack() as other:
        other.enter_context(holding(store / ".begin.claim"))

        def write_and_go(_: float) -> None:
            (store / "begun.json").write_text(json.dumps({"encoding": "webp", "splits": {}}))
            other.close()

        monkeypatch.setattr(time, "sleep", write_and_go)
        result = prepare(root, store)
    assert result.exit_code == 2
    assert "was begun with another" in result.output


def test_shards_of_which_nobody_says_any_more_what_they_hold_are_kept_where_they_fit(tmp_path: Path) -> None:
    root, store = two_classes(tmp_path), tmp_path / "store"
    prepared(root, store)
    (path,) = store.glob("train-*")
    times = path.stat().st_mtime_ns
    for words, same in ([], True), (["--encoding", "webp"], False), (["--encoding", "webp", "--set", "background=black"], True):
        (store / "store.json").unlink()
        prepared(root, store, *words)
        assert (path.stat().st_mtime_ns == times) is same
        times = path.stat().st_mtime_ns
    images, labels = load_split(Prepared(path=str(store)), "train")
    folder = ImageFolder(path=str(root), image_size=8, test_fraction=0, background="black")
    assert torch.equal(images[:], load_split(folder, "train")[0][:])
    assert labels.tolist() == [0, 1]


def test_a_source_that_changes_meanwhile_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(tmp_path)

    def write_and_change(*words: Any) -> None:
        write_shard(*words)
        Image.new("RGB", (9, 8)).save(root / "a" / "0.png")

    monkeypatch.setattr(preparing, "write_shard", write_and_change)
    result = prepare(root, tmp_path / "store")
    assert result.exit_code == 2
    assert "has changed while it was prepared" in " ".join(result.output.split())
    assert not (tmp_path / "store" / "store.json").exists()


def test_classes_of_any_name_are_stored(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    (root / "a").rename(root / os.fsdecode(b"\xff\xfe \n"))
    names = Prepared(path=str(prepared(root, tmp_path / "store"))).info.class_names
    assert names == ImageFolder(path=str(root)).info.class_names


def test_a_source_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    for source in (tmp_path / "nowhere", tmp_path / "file.png"):
        result = prepare(source, tmp_path / "store")
        assert result.exit_code == 2
        assert "is no folder of images, and no data set" in " ".join(result.output.split())
    assert "which needs the plugin 'strange'" in " ".join(prepare("strange/set", tmp_path / "store").output.split())


WRITERS = """
import multiprocessing, time
from gancore_store import preparing

if __name__ == "__main__":
    with preparing._writers(None, 2) as each:
        try:
            list(each([("train", 0)]))
        except AssertionError:
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_processes_that_write_end_with_who_is_killed(tmp_path: Path) -> None:
    (tmp_path / "writers.py").write_text(WRITERS)
    with subprocess.Popen([sys.executable, tmp_path / "writers.py"], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        writers = [int(word) for word in first.stdout.readline().split()]
        assert writers
        assert all(_started(pid) for pid in writers)
        first.kill()
    until = time.monotonic() + 30
    while any(_started(pid) is not None for pid in writers):
        assert time.monotonic() < until
        time.sleep(0.05)
