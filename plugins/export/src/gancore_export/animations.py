"""Files of moving pictures: GIF by Pillow, MP4 by ffmpeg where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from gancore_standard.tools import grid
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.tools import listed, plain, replacing, to_unit

_SECONDS = 600
"""After which ffmpeg is ended."""


def write_animation(frames: Tensor, path: Path, *, rate: int = 24, columns: int | None = None, loop: bool = True) -> None:
    """Write frames as an animation, all or nothing; missing folders are made.

    Args:
        frames: Images (T, N, C, H, W) uint8, N side by side in each of T frames.
        path: The file, ``.gif`` or ``.mp4``.
        rate: Frames a second; a GIF rounds the time of each to hundredths of a second.
        columns: Images in a row; by default the frames are about square.
        loop: Whether the last frame is the first one, and is left out of a GIF, which is played again and again.

    Raises:
        GancoreError: The file is of another kind, ffmpeg is missing or fails, or the file can't be written.
    """
    write = writer(path)
    shown = frames[:-1] if loop and len(frames) > 1 and path.suffix.lower() == ".gif" else frames
    write([grid(to_unit(frame), columns) for frame in shown], path, rate)


def writer(path: Path) -> Callable[[Sequence[Image.Image], Path, int], None]:
    """Return what writes pictures to an animation, by the suffix of its file.

    Raises:
        GancoreError: There is none for such a file, or ffmpeg, which writes it, is not installed.
    """
    known = {".gif": _gif, ".mp4": _mp4}
    suffix = path.suffix.lower()
    if suffix not in known:
        raise GancoreError(f"{path} can't be written: end its name in one of these: {listed(known)}.")
    if suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise GancoreError(f"{path} needs the program ffmpeg, which is not installed; install it, or write a .gif.")
    return known[suffix]


def _gif(pictures: Sequence[Image.Image], path: Path, rate: int) -> None:
    with replacing(path) as beside:
        pictures[0].save(
            beside, format="GIF", save_all=True, append_images=pictures[1:], duration=max(20, round(1000 / rate)), loop=0
        )


def _mp4(pictures: Sequence[Image.Image], path: Path, rate: int) -> None:
    width, height = pictures[0].size
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:0"]
    # Players want even sides and this order of colors.
    target = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    with replacing(path) as beside:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *source, *target, str(beside.resolve())]
        content = b"".join(picture.tobytes() for picture in pictures)
        try:
            done = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise GancoreError(f"{path} can't be written: ffmpeg does not end; write a .gif.") from error
        if done.returncode:
            said = plain(done.stderr.decode(errors="replace"))[-150:]
            raise GancoreError(f"{path} can't be written: ffmpeg fails ({said}); write a .gif.")
