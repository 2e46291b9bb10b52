"""The files that MNIST and CIFAR-10 are published in, read and checked."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Parts = tuple[Bytes, Labels, Bytes, Labels]     # training images and labels, test images and labels


def content_of(path: Path) -> bytes:
    """Return the unpacked bytes of a plain, gzip or xz file."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(raw)
        return lzma.decompress(raw) if path.suffix == ".xz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise HwgenError(
            f"{path}: a whole {path.suffix[1:]} file needed, this one is broken or truncated "
            f"({error})"
        ) from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error


def find(folder: Path, *names: str) -> Path:
    """Return the first of several names that exists in a folder."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    kind = "a folder" if folder.is_dir() else "an existing folder"
    raise HwgenError(f"{folder}: {kind} with {names[0]} needed")


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped or plain.

    Raises: HwgenError, naming the file, if it is missing, truncated, too long or of another type.
    """
    content = content_of(path)
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 4:
        raise HwgenError(
            f"{path}: an idx file of unsigned bytes needed, it begins with {content[:4].hex()}"
        )
    dims = content[3]
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * dims], ">u4").tolist())
    size = int(np.prod([int(side) for side in shape], dtype=object)) if len(shape) == dims else -1
    if size != len(content) - 4 - 4 * dims:
        raise HwgenError(f"{path}: {size} bytes promised, {len(content) - 4 - 4 * dims} there")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape)


def _idx_pair(folder: Path, part: str) -> tuple[Bytes, Labels]:
    arrays = []
    for what, dims in (("images", 3), ("labels", 1)):
        stem = f"{part}-{what}"
        path = find(
            folder, *(f"{stem}{dot}idx{dims}-ubyte{end}" for dot in "-." for end in (".gz", ""))
        )
        array = read_idx(path)
        if array.ndim != dims:
            raise HwgenError(f"{path}: {dims} dimensions needed, not {array.ndim}")
        arrays.append(array)
    x, y = arrays
    if x.shape[1:] != (28, 28) or len(x) != len(y) or not len(x):
        raise HwgenError(
            f"{folder}: {part} images of 28x28 and as many labels needed, "
            f"not {x.shape} and {y.shape}"
        )
    if y.max() > 9:
        raise HwgenError(f"{folder}: {part} labels from 0 to 9 needed, not {y.max()}")
    return x[:, None], y.astype(np.int64)


def mnist(folder: Path) -> Parts:
    """Read the four idx files of MNIST, gzipped or plain; (N, 1, 28, 28)."""
    return (*_idx_pair(folder, "train"), *_idx_pair(folder, "t10k"))


# --- CIFAR-10 ------------------------------------------------------------

CIFAR_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


def _cifar_batch(path: Path) -> tuple[Bytes, Labels]:
    """One batch of the binary version: records of a label and 3x32x32 pixels."""
    content = content_of(path)
    if not content or len(content) % 3073:
        raise HwgenError(f"{path}: records of 3073 bytes needed, {len(content)} bytes there")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _cifar_residual(path: Path) -> Bytes:
    """Planes G, R-G and B-G after a two-dimensional difference, modulo 256."""
    content = content_of(path)
    if not content or len(content) % 3072:
        raise HwgenError(f"{path}: a multiple of 3072 bytes needed, {len(content)} there")
    planes = np.frombuffer(content, np.uint8).reshape(3, -1, 32, 32)
    planes = planes.cumsum(2, dtype=np.uint8).cumsum(3, dtype=np.uint8)
    green = planes[0]
    return np.stack([planes[1] + green, green, planes[2] + green], 1)


def cifar10(folder: Path) -> Parts:
    """Read CIFAR-10, as binary batches or as xz residual planes; (N, 3, 32, 32), RGB."""
    if (folder / "cifar-10-batches-bin").is_dir():
        folder = folder / "cifar-10-batches-bin"
    if (folder / "data_batch_1").is_file() and not (folder / "data_batch_1.bin").is_file():
        raise HwgenError(
            f"{folder}: the binary version (data_batch_1.bin ...) needed, "
            "these are Python pickles, which are not read"
        )
    if (folder / "test.residual.xz").is_file():
        train_x = np.concatenate(
            [_cifar_residual(find(folder, f"train_{n}.residual.xz")) for n in range(1, 6)]
        )
        test_x = _cifar_residual(folder / "test.residual.xz")
        train_y, test_y = (
            read_idx(
                find(folder, f"{part}-labels-idx1-ubyte.gz", f"{part}-labels-idx1-ubyte")
            ).astype(np.int64)
            for part in ("train", "test")
        )
    else:
        batches = [_cifar_batch(find(folder, f"data_batch_{n}.bin")) for n in range(1, 6)]
        train_x, train_y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        test_x, test_y = _cifar_batch(find(folder, "test_batch.bin"))
    for part, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        if len(x) != len(y) or y.max() > 9:
            raise HwgenError(
                f"{folder}: {part}: as many labels from 0 to 9 as images needed, "
                f"not {len(y)} labels for {len(x)} images"
            )
    return train_x, train_y, test_x, test_y
