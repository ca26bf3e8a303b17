"""Images from the generator beside this file. It needs torch, and nothing else.

python generate.py --n 64 --out images.png
python generate.py --n 1000 --classes 3,5 --out images.npz
python generate.py --check
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
AGREEMENT = 1e-4
"""How far images may be from those that gancore made of the same latents, on the [-1, 1] scale."""


def generator(about: dict[str, Any], device: str = "cpu") -> Any:
    """Return what maps latents (N, D), and labels where the generator heeds some, to images (N, C, H, W) in [-1, 1]."""
    program = torch.export.load(str(HERE / "generator.pt2")).module()
    program = program.to(device)
    return program if about["labels"]["heeded"] else lambda z, _label: program(z)


def tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    table = json.loads(content[8 : 8 + length])
    kinds = {"F32": torch.float32, "I64": torch.int64}
    read = {}
    for name, entry in table.items():
        if name != "__metadata__":
            start, stop = (8 + length + place for place in entry["data_offsets"])
            values = torch.frombuffer(bytearray(content[start:stop]), dtype=kinds[entry["dtype"]])
            read[name] = values.reshape(entry["shape"])
    return read


def draw(about: dict[str, Any], number: int, classes: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Return latents (N, D) and labels (N,), or attributes (N, A)."""
    noise = torch.Generator().manual_seed(seed)
    labels = about["labels"]
    if about["latents"] == "stored":
        stored = tensors(HERE / "latents.safetensors")
        rows = torch.randint(len(stored["z"]), (number,), generator=noise)
        z = stored["z"][rows]
        # What draws latents may draw attributes too, which are then distributed as it has them.
        if not labels["any"] or stored["label"].ndim == 2:
            return z, stored["label"][rows]
    else:
        shape = (number, about["latent_dim"])
        normal = about["latents"] == "normal"
        z = torch.randn(shape, generator=noise) if normal else 2 * torch.rand(shape, generator=noise) - 1
    values = torch.tensor(labels["values"])
    if values.ndim == 1:
        values = torch.tensor(classes) if classes else values
        return z, values[torch.arange(number) % len(values)]
    weights = torch.tensor(labels["weights"], dtype=torch.float64)
    return z, values[torch.multinomial(weights, number, replacement=True, generator=noise)]


@torch.no_grad()
def images(about: dict[str, Any], z: Tensor, label: Tensor, device: str = "cpu") -> Tensor:
    """Return the images (N, C, H, W) in [-1, 1] of latents and labels."""
    make = generator(about, device)
    pieces = [make(z[i : i + 100].to(device), label[i : i + 100].to(device)).cpu() for i in range(0, len(z), 100)]
    return torch.cat(pieces)


def pixels(batch: Tensor) -> Tensor:
    """Return images as bytes (N, H, W, C)."""
    return batch.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def as_bytes(tensor: Tensor) -> bytes:
    """Return the memory of a tensor."""
    tensor = tensor.contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())


def write_png(batch: Tensor, path: Path) -> None:
    """Write a grid of images as a PNG file."""
    tiles = pixels(batch)
    tiles = tiles if tiles.shape[3] == 3 else tiles.float().mean(3, keepdim=True).round().to(torch.uint8).expand(-1, -1, -1, 3)
    number, high, wide, _ = tiles.shape
    scale = max(1, math.ceil(48 / min(high, wide)))
    tiles = tiles.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    high, wide = high * scale, wide * scale
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    canvas = torch.full((rows * (high + 2) + 2, columns * (wide + 2) + 2, 3), 150, dtype=torch.uint8)
    for place, tile in enumerate(tiles):
        top, left = 2 + place // columns * (high + 2), 2 + place % columns * (wide + 2)
        canvas[top : top + high, left : left + wide] = tile
    lines = torch.cat([torch.zeros(len(canvas), 1, dtype=torch.uint8), canvas.flatten(1)], 1)
    header = struct.pack(">IIBBBBB", canvas.shape[1], canvas.shape[0], 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(as_bytes(lines))), (b"IEND", b""))
    coded = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))


def write_npz(batch: Tensor, label: Tensor | None, path: Path) -> None:
    """Write images (N, H, W, C) uint8 as arr_0, and labels int64 as arr_1 where the generator heeds them."""
    arrays = [pixels(batch), *([] if label is None else [label])]
    with zipfile.ZipFile(path, "w") as archive:
        for place, array in enumerate(arrays):
            kind = "|u1" if array.dtype == torch.uint8 else "<i8"
            text = str({"descr": kind, "fortran_order": False, "shape": tuple(array.shape)})
            text += " " * (-(len(text) + 11) % 64) + "\n"
            start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
            archive.writestr(f"arr_{place}.npy", start + as_bytes(array))


def check(about: dict[str, Any], device: str = "cpu") -> float:
    """Return the largest difference of images from those that gancore made of the same latents."""
    known = tensors(HERE / "check.safetensors")
    own = images(about, known["z"], known["label"], device)
    return float((own - known["images"]).abs().max())


def main() -> None:
    """Write images, or compare them with gancore's."""
    about = json.loads((HERE / "generator.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=f"Images of {about['title']}.")
    parser.add_argument("--n", type=int, default=64, help="number of images")
    parser.add_argument("--classes", default="", help=f"labels with commas between them, of {len(about['classes'])} classes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the latents")
    parser.add_argument("--out", default="images.png", help="x.png for a grid, x.npz for arrays")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true", help="compare with what gancore generates, and end")
    asked = parser.parse_args()
    if asked.check:
        difference = check(about, asked.device)
        print(f"largest difference from gancore's images: {difference:.2e}")
        sys.exit(0 if difference <= AGREEMENT else 1)
    classes = [int(word) for word in asked.classes.split(",")] if asked.classes else []
    labels = about["labels"]
    if classes and not (labels["heeded"] and labels["any"] and all(one in labels["values"] for one in classes)):
        parser.error("the generator can't be asked for these classes")
    path = Path(asked.out)
    points = about["image"] == [2, 1, 1]
    if asked.n < 1 or path.suffix not in (".png", ".npz") or (points and path.suffix == ".png"):
        parser.error("--n must be 1 or more, and --out end in " + (".npz" if points else ".png or .npz"))
    group = about["group"]
    z, label = draw(about, -(-asked.n // group), classes, asked.seed)
    batch = images(about, z, label, asked.device)
    batch = batch.reshape(-1, *batch.shape[-3:])[: asked.n]
    if path.suffix == ".png":
        write_png(batch, path)
    else:
        write_npz(batch, label.repeat_interleave(group, 0)[: asked.n] if labels["heeded"] else None, path)
    print(f"{asked.n} images are in {path}")


if __name__ == "__main__":
    main()
