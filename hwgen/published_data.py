"""The files that MNIST, CIFAR-10 and the face crops are published in, read and checked.

A file must be whole and well formed, or reading it is an error. Whether it holds what was published
is told by the SHA-256 of what is read, whichever way it is packed: other content is read too, so
that a user's own set in the same form works, and ``notes`` has one line for each part of it.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Parts = tuple[Bytes, Labels, Bytes, Labels]     # training images and labels, test images and labels

# SHA-256 of the published pixels (MNIST and the faces as stored, CIFAR-10 as (N, 32, 32, 3)) and
# labels, a byte each.
PUBLISHED = {
    "mnist": {
        "training images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "training labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "test images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "test labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    },
    "cifar10": {
        "training images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "training labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
    "faces": {"crops": "ce1ab433bd0a896d88a87e40efdf37d9e1ce98bbd3317b498da9f0a7b8e125d5"},
}


def notes(kind: str, parts: Sequence[npt.NDArray[np.generic]]) -> tuple[str, ...]:
    """Return a line for each part whose content is not the published one.

    Parameters: kind, a key of ``PUBLISHED``; parts, in the order of its entries, labels of any
    integer type.
    """
    found = []
    for (what, wanted), part in zip(PUBLISHED[kind].items(), parts, strict=True):
        plain = part.transpose(0, 2, 3, 1) if kind == "cifar10" and part.ndim == 4 else part
        bytes_of = plain if plain.dtype.kind == "f" else plain.astype(np.uint8)
        came = hashlib.sha256(np.ascontiguousarray(bytes_of).tobytes()).hexdigest()
        if came != wanted:
            found.append(
                f"{kind}: {what} are not the published ones (SHA-256 {wanted[:12]} needed for "
                f"that, not {came[:12]})"
            )
    return tuple(found)


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


# --- Faces ---------------------------------------------------------------


def faces(folder: Path) -> tuple[npt.NDArray[np.float64], Labels]:
    """Read ``lfw_subset.npy``: crops (N, H, W) in 0..1, and 1 for the first half, the faces."""
    path = find(folder, "lfw_subset.npy")
    try:
        crops = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise HwgenError(f"{path}: a whole .npy array needed ({error})") from error
    if crops.ndim != 3 or len(crops) % 2 or 0 in crops.shape:
        raise HwgenError(f"{path}: an even number of crops (N, H, W) needed, not {crops.shape}")
    if crops.dtype.kind != "f" or not np.all((crops >= 0) & (crops <= 1)):
        raise HwgenError(f"{path}: crops as floats from 0 to 1 needed, not {crops.dtype}")
    return crops.astype(np.float64), (np.arange(len(crops)) < len(crops) // 2).astype(np.int64)


def resized(images: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Return images (N, H, W) at another size: bilinear, pixel centres at half steps."""
    rows, columns = (
        _interpolation(before, after)
        for before, after in zip(images.shape[1:], (height, width), strict=True)
    )
    made: npt.NDArray[np.float64] = np.einsum("ah,nhw,bw->nab", rows, images, columns)
    return made


def _interpolation(before: int, after: int) -> npt.NDArray[np.float64]:
    """Return the weights, (after, before), of the two nearest pixels; edges repeat."""
    place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    low = np.minimum(place.astype(int), max(before - 2, 0))
    weights = np.zeros((after, before))
    weights[np.arange(after), low] = 1 - (place - low)
    weights[np.arange(after), np.minimum(low + 1, before - 1)] += place - low
    return weights
