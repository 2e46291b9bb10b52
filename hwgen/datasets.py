"""Labelled images as integer codes: the DATA argument of the command line.

``digits`` (scikit-learn's embedded 8x8 digits), ``mnist:DIR`` (the four idx files, gzipped or
plain), ``cifar10:DIR`` (the binary batches, or xz residual planes), ``faces:DIR``
(``lfw_subset.npy``), ``npz:FILE`` (arrays x, y) and ``images:DIR`` (a folder a class). Images are
raw pixels, NCHW; the faces come as 36 rows of 32 columns, the window of the CFF detector. A set
that comes in one piece is split 80/20, stratified, always in the same way; the test part is for
final figures only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen import published_data
from hwgen.errors import HwgenError

Array = npt.NDArray[np.generic]
Images = npt.NDArray[np.integer]

HELD_OUT = 5  # one image in five is held out where a set comes in one piece
FACE_WINDOW = (36, 32)  # rows and columns of a face crop
CALIBRATION = 5000  # at most; a tenth of the training images otherwise


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of a classification task.

    Parameters
    ----------
    name : str
        As on the command line.
    train_x, test_x : integer array, (N, C, H, W)
        Codes, ``lo <= code <= hi``.
    train_y, test_y : int64 array, (N,)
        Class numbers.
    lo, hi : int
        Range of the codes, ``lo <= 0 <= hi``.
    scale : float
        What one code is worth before normalisation, if the model does not say otherwise.
    class_names : tuple of str
    mean, std : tuple of float, or None
        Normalisation by channel, ``(code * scale - mean) / std``, if the user gave one.
    notes : tuple of str
        Lines that a user should see: which part of a published set is not the published one.
    """

    name: str
    train_x: Images
    train_y: npt.NDArray[np.int64]
    test_x: Images
    test_y: npt.NDArray[np.int64]
    lo: int
    hi: int
    scale: float
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width

    @property
    def calibration_size(self) -> int:
        """Number of training images, the last ones, that training leaves to searches."""
        return max(1, min(CALIBRATION, len(self.train_x) // 10))

    def calibration(self) -> tuple[Images, npt.NDArray[np.int64]]:
        """Return the last part of the training images and labels, which training leaves out."""
        start = len(self.train_x) - self.calibration_size
        return self.train_x[start:], self.train_y[start:]


def load(
    spec: str, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Dataset:
    """Load the images that a DATA argument names.

    Parameters
    ----------
    spec : str
        ``digits``, or ``KIND:PATH`` with kind mnist, cifar10, faces, npz or images.
    mean, std : sequence of float, optional
        Normalisation by channel (or one number for all), in units of ``code * scale``.

    Raises: HwgenError, one line, if the data are missing, truncated, of a wrong size or kind, or
    not finite.
    """
    kind, _, place = spec.partition(":")
    if kind == "digits" and not place:
        data = _digits()
    elif kind in _LOADERS and place:
        data = _LOADERS[kind](Path(place))
    else:
        raise HwgenError(
            f"Data must be digits or one of {', '.join(f'{k}:PATH' for k in _LOADERS)}, "
            f"not {spec!r}"
        )
    channels = data.shape[0]
    return replace(
        data,
        name=spec,
        mean=_per_channel("mean", mean, channels),
        std=_per_channel("std", std, channels),
    )


def split(
    y: npt.NDArray[np.int64], *, part: int = HELD_OUT, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return shuffled indices (kept, held out): one image in ``part`` held out, classes in
    proportion.

    The held-out part has ``ceil(N / part)`` images; the same labels and seed give the same split.
    """
    random = np.random.default_rng(seed)
    wanted = -(-len(y) // part)
    classes, counts = np.unique(y, return_counts=True)
    quota = counts // part
    order = np.argsort(-(counts % part), kind="stable")
    quota[order[: wanted - int(quota.sum())]] += 1
    held = np.concatenate(
        [
            random.permutation(np.flatnonzero(y == label))[:count]
            for label, count in zip(classes, quota, strict=True)
        ]
    )
    kept = np.setdiff1d(np.arange(len(y)), held)
    return random.permutation(kept), random.permutation(held)


def folds(
    y: npt.NDArray[np.int64], *, count: int = 5, seed: int = 0
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return ``count`` pairs of shuffled indices (kept, held out), classes in proportion.

    Every image is held out once; the same labels and seed give the same folds.

    Raises: HwgenError if there are fewer images than folds, or fewer than two folds.
    """
    if not 2 <= count <= len(y):
        raise HwgenError(f"Folds from 2 to {len(y)} needed, one image each at least, not {count}")
    random = np.random.default_rng(seed)
    order = random.permutation(len(y))
    order = order[np.argsort(np.asarray(y)[order], kind="stable")]  # dealt out a class at a time
    parts = [order[first::count] for first in range(count)]
    return [
        (np.sort(np.concatenate(parts[:k] + parts[k + 1 :])), np.sort(parts[k]))
        for k in range(count)
    ]


def _per_channel(
    name: str, values: Sequence[float] | None, channels: int
) -> tuple[float, ...] | None:
    if values is None:
        return None
    numbers = tuple(float(value) for value in values)
    if len(numbers) not in (1, channels) or not np.all(np.isfinite(numbers)):
        raise HwgenError(
            f"--{name}: {channels} finite numbers (or one) needed, not {list(numbers)}"
        )
    if name == "std" and min(numbers) <= 0:
        raise HwgenError(f"--{name}: positive numbers needed, not {list(numbers)}")
    return numbers * channels if len(numbers) == 1 else numbers


def _in_one_piece(
    name: str,
    x: Images,
    y: npt.NDArray[np.int64],
    *,
    lo: int,
    hi: int,
    scale: float,
    class_names: Sequence[str],
) -> Dataset:
    kept, held = split(y)
    if not len(kept):
        raise HwgenError(f"{name}: at least two images needed, there are {len(y)}")
    return Dataset(name, x[kept], y[kept], x[held], y[held], lo, hi, scale, tuple(class_names))


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise HwgenError("The digits need scikit-learn: pip install 'hwgen[train]'") from error
    bunch = load_digits()
    x = bunch.images.astype(np.uint8)[:, None]
    return _in_one_piece(
        "digits",
        x,
        bunch.target.astype(np.int64),
        lo=0,
        hi=16,
        scale=1 / 16,
        class_names=[str(digit) for digit in range(10)],
    )


def _mnist(folder: Path) -> Dataset:
    parts = published_data.mnist(folder)
    names = tuple(str(digit) for digit in range(10))
    notes = published_data.notes("mnist", parts)
    return Dataset("mnist", *parts, 0, 255, 1 / 255, names, notes=notes)


def _cifar10(folder: Path) -> Dataset:
    parts = published_data.cifar10(folder)
    notes = published_data.notes("cifar10", parts)
    names = published_data.CIFAR_NAMES
    return Dataset("cifar10", *parts, 0, 255, 1 / 255, names, notes=notes)


# --- a user's own arrays and pictures --------------------------------------------------


def _codes(path: Path, x: Array) -> tuple[Images, int, int, float]:
    """Return (codes, lo, hi, scale): pixels as they are, floats in 8 bits."""
    if x.ndim != 4 or 0 in x.shape:
        raise HwgenError(f"{path}: x as images (N, C, H, W) needed, not {x.shape}")
    if x.dtype == np.uint8:
        return x.view(np.uint8), 0, 255, 1 / 255
    if x.dtype.kind != "f":
        raise HwgenError(f"{path}: x as uint8 or float needed, not {x.dtype}")
    values = x.astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise HwgenError(
            f"{path}: finite x needed, image {int(np.argwhere(~np.isfinite(values))[0][0])} "
            "holds NaN or infinity"
        )
    if values.min() >= 0 and values.max() <= 1:
        return np.rint(values * 255).astype(np.uint8), 0, 255, 1 / 255
    frac = int(np.floor(np.log2(127 / np.abs(values).max())))
    return np.rint(np.ldexp(values, frac)).astype(np.int64), -128, 127, float(2.0**-frac)


def _labels(path: Path, y: Array, count: int) -> npt.NDArray[np.int64]:
    if (
        y.dtype.kind not in "iu"
        or y.shape != (count,)
        or (count and not 0 <= y.min() <= y.max() < 1 << 16)
    ):
        raise HwgenError(
            f"{path}: y as {count} class numbers from 0 needed, not {y.dtype} {y.shape}"
        )
    return y.astype(np.int64)


def arrays_of(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file, by name.

    Raises: HwgenError, naming the file, if it is missing, broken or needs pickle.
    """
    import zipfile
    import zlib

    try:
        with open(path, "rb") as file:              # numpy leaves it open where it fails
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("no .npz archive")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: an .npz file needed, there is none") from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise HwgenError(f"{path}: a whole .npz of plain arrays needed ({error})") from error


def _npz(path: Path) -> Dataset:
    """x, y in one piece, or with test_x, test_y beside them; class_names where given."""
    members = arrays_of(path)
    missing = [name for name in ("x", "y") if name not in members]
    if ("test_x" in members) != ("test_y" in members):
        missing.append("test_x and test_y together")
    if missing:
        raise HwgenError(
            f"{path}: {', '.join(missing)} needed, it holds {', '.join(members) or 'nothing'}"
        )
    x, lo, hi, scale = _codes(path, members["x"])
    y = _labels(path, members["y"], len(x))
    names = members.get("class_names")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise HwgenError(
            f"{path}: class_names as a list of texts needed, not {names.dtype} {names.shape}"
        )
    if "test_x" not in members:
        class_names = [str(n) for n in (range(int(y.max()) + 1) if names is None else names)]
        return _in_one_piece("npz", x, y, lo=lo, hi=hi, scale=scale, class_names=class_names)
    test_x, *form = _codes(path, members["test_x"])
    if form != [lo, hi, scale] or test_x.shape[1:] != x.shape[1:]:
        raise HwgenError(
            f"{path}: test_x like x needed (shape {x.shape[1:]}, same range), "
            f"not {test_x.shape[1:]}"
        )
    test_y = _labels(path, members["test_y"], len(test_x))
    top = int(max(y.max(), test_y.max()))
    class_names = [str(n) for n in (range(top + 1) if names is None else names)]
    return Dataset("npz", x, y, test_x, test_y, lo, hi, scale, tuple(class_names))


def _faces(folder: Path) -> Dataset:
    crops, y = published_data.faces(folder)
    notes = published_data.notes("faces", [crops])
    windows = published_data.resized(crops, *FACE_WINDOW)
    x = np.rint(windows * 255).astype(np.uint8)[:, None]
    names = ("other", "face")
    data = _in_one_piece("faces", x, y, lo=0, hi=255, scale=1 / 255, class_names=names)
    return replace(data, notes=notes)


def _images(folder: Path) -> Dataset:
    """A folder a class; with train/ and test/ inside, one tree each."""
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        names, x, y = _pictures(folder / "train")
        test_names, test_x, test_y = _pictures(folder / "test")
        if names != test_names or x.shape[1:] != test_x.shape[1:]:
            raise HwgenError(
                f"{folder}: the same classes and sizes in train and test needed, not "
                f"{', '.join(names)} {x.shape[1:]} and {', '.join(test_names)} {test_x.shape[1:]}"
            )
        return Dataset("images", x, y, test_x, test_y, 0, 255, 1 / 255, tuple(names))
    names, x, y = _pictures(folder)
    return _in_one_piece("images", x, y, lo=0, hi=255, scale=1 / 255, class_names=names)


def _pictures(folder: Path) -> tuple[list[str], Images, npt.NDArray[np.int64]]:
    try:
        from PIL import Image
    except ImportError as error:
        raise HwgenError("Picture folders need Pillow: pip install pillow") from error
    classes = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    files = [
        (path, label)
        for label, place in enumerate(classes)
        for path in sorted(place.iterdir())
        if path.suffix.lower() in (".png", ".jpg", ".jpeg")
    ]
    if len(classes) < 2 or not files:
        raise HwgenError(
            f"{folder}: two or more folders of PNG or JPEG pictures needed, there are "
            f"{len(classes)} folders with {len(files)} pictures"
        )
    images: list[npt.NDArray[np.uint8]] = []
    mode = ""
    for path, _ in files:
        try:
            with Image.open(path) as picture:
                mode = mode or ("L" if picture.mode in ("1", "L") else "RGB")
                pixels = np.asarray(picture.convert(mode))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise HwgenError(f"{path}: a whole picture needed ({error})") from error
        if images and pixels.shape != images[0].shape:
            raise HwgenError(
                f"{path}: {images[0].shape[1]}x{images[0].shape[0]} pixels like the first "
                f"picture needed, not {pixels.shape[1]}x{pixels.shape[0]}"
            )
        images.append(pixels)
    stacked = np.stack(images)
    x = stacked[:, None] if mode == "L" else np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
    return [place.name for place in classes], x, np.array([label for _, label in files], np.int64)


_LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "mnist": _mnist,
    "cifar10": _cifar10,
    "faces": _faces,
    "npz": _npz,
    "images": _images,
}
