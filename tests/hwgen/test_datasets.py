"""Loaders: their results, and one clear line for every kind of broken data."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import struct

import numpy as np
import pytest

from hwgen import datasets
from hwgen.errors import HwgenError


def idx(array):
    dims = struct.pack(f">{array.ndim}I", *array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + dims + array.tobytes()


def mnist_folder(folder, *, train=30, test=10, pack=True):
    random = np.random.default_rng(0)
    made = {}
    for part, count in (("train", train), ("t10k", test)):
        x = random.integers(0, 256, (count, 28, 28), np.uint8)
        y = (np.arange(count) % 10).astype(np.uint8)
        for what, array in (("images-idx3", x), ("labels-idx1", y)):
            content = idx(array)
            name = folder / f"{part}-{what}-ubyte{'.gz' if pack else ''}"
            name.write_bytes(gzip.compress(content) if pack else content)
        made[part] = (x, y)
    return made


def test_digits():
    data = datasets.load("digits")
    assert data.train_x.shape == (1437, 1, 8, 8)
    assert data.test_x.shape == (360, 1, 8, 8)
    assert (data.lo, data.hi, data.scale) == (0, 16, 1 / 16)
    assert data.train_x.max() == 16
    counts = np.bincount(data.test_y)
    assert counts.min() >= 34
    assert counts.max() <= 38
    again = datasets.load("digits")
    np.testing.assert_array_equal(data.test_x, again.test_x)
    together = {image.tobytes() for image in np.concatenate([data.train_x, data.test_x])}
    assert len(together) == 1797  # the images are all different; none is in both


def test_split_is_stratified_and_whole():
    y = np.repeat(np.arange(4), [50, 7, 23, 1])
    kept, held = datasets.split(y)
    assert sorted([*kept, *held]) == list(range(81))
    assert len(held) == 17
    shares = np.bincount(y[held], minlength=4) / np.array([50, 7, 23, 1])
    assert np.all(np.abs(shares[:3] - 0.2) < 0.1)


@pytest.mark.parametrize("pack", [True, False])
def test_mnist(tmp_path, pack):
    made = mnist_folder(tmp_path, pack=pack)
    data = datasets.load(f"mnist:{tmp_path}")
    np.testing.assert_array_equal(data.train_x[:, 0], made["train"][0])
    np.testing.assert_array_equal(data.test_y, made["t10k"][1])
    assert data.calibration_size == 3
    np.testing.assert_array_equal(data.calibration()[0], data.train_x[-3:])


@pytest.mark.parametrize("damage", ["cut", "more", "type", "gzip", "missing", "size", "labels"])
def test_mnist_broken(tmp_path, damage):
    mnist_folder(tmp_path, pack=damage == "gzip")
    images = tmp_path / f"train-images-idx3-ubyte{'.gz' if damage == 'gzip' else ''}"
    content = images.read_bytes()
    match damage:
        case "cut" | "gzip":
            images.write_bytes(content[:-100])
        case "more":
            images.write_bytes(content + b"\0")
        case "type":
            images.write_bytes(b"\0\0\x0d\3" + content[4:])
        case "missing":
            images.unlink()
        case "size":
            images.write_bytes(idx(np.zeros((30, 27, 28), np.uint8)))
        case "labels":
            labels = np.full(30, 11, np.uint8)
            (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(HwgenError) as caught:
        datasets.load(f"mnist:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mnist_of_another_folder(tmp_path):
    with pytest.raises(HwgenError, match="an existing folder with train-images-idx3-ubyte.gz"):
        datasets.load(f"mnist:{tmp_path / 'none'}")


def test_cifar10_binary(tmp_path):
    random = np.random.default_rng(1)
    records = random.integers(0, 256, (6, 20, 3073), np.uint8)
    records[:, :, 0] %= 10
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    for name, batch in zip(names, records, strict=True):
        (folder / name).write_bytes(batch.tobytes())
    data = datasets.load(f"cifar10:{tmp_path}")
    assert data.train_x.shape == (100, 3, 32, 32)
    np.testing.assert_array_equal(data.test_x[3, 1, 0], records[5, 3, 1 + 1024 : 1 + 1024 + 32])
    np.testing.assert_array_equal(data.train_y[20:40], records[1, :, 0])
    (folder / names[2]).write_bytes(b"\0" * 3072)
    with pytest.raises(HwgenError, match="data_batch_3.bin: records of 3073 bytes needed, 3072"):
        datasets.load(f"cifar10:{folder}")


def test_cifar10_pickles_are_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80")
    with pytest.raises(HwgenError, match="Python pickles, which are not read"):
        datasets.load(f"cifar10:{tmp_path}")


def test_npz_of_pixels(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (25, 3, 4, 5), np.uint8)
    y = np.arange(25) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, class_names=np.array(["cat", "dog"]))
    data = datasets.load(f"npz:{tmp_path / 'a.npz'}", mean=[0.5], std=[0.1, 0.2, 0.3])
    assert data.class_names == ("cat", "dog")
    assert data.mean == (0.5, 0.5, 0.5)
    assert data.std == (0.1, 0.2, 0.3)
    assert len(data.test_x) == 5
    np.savez(tmp_path / "b.npz", x=x, y=y, test_x=x[:7], test_y=y[:7])
    data = datasets.load(f"npz:{tmp_path / 'b.npz'}")
    np.testing.assert_array_equal(data.train_x, x)
    np.testing.assert_array_equal(data.test_x, x[:7])


def test_npz_of_floats(tmp_path):
    random = np.random.default_rng(0)
    unit, signed = random.random((10, 1, 4, 4)), random.normal(size=(10, 1, 4, 4))
    y = np.zeros(10, np.int64)
    for x, lo, hi in ((unit, 0, 255), (signed, -128, 127)):
        np.savez(tmp_path / "a.npz", x=x, y=y, test_x=x, test_y=y)
        data = datasets.load(f"npz:{tmp_path / 'a.npz'}")
        assert (data.lo, data.hi) == (lo, hi)
        assert data.test_x.dtype.kind in "iu"
        assert np.abs(data.test_x * data.scale - x).max() <= data.scale / 2 + 1e-9


def test_npz_of_zeros(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 1, 2, 2)), y=np.zeros(6, np.int64))
    assert not datasets.load(f"npz:{tmp_path / 'a.npz'}").train_x.any()


X, Y = np.zeros((6, 1, 2, 2), np.uint8), np.zeros(6, np.int64)


@pytest.mark.parametrize(("members", "message"), [
    ({"x": X}, "y needed, it holds x"),
    ({"x": X, "y": Y, "test_x": X}, "test_x and test_y together needed"),
    ({"x": X[0], "y": Y}, "images \\(N, C, H, W\\) needed"),
    ({"x": X.astype(np.int32), "y": Y}, "uint8 or float needed, not int32"),
    ({"x": np.full((6, 1, 2, 2), np.nan), "y": Y}, "finite x needed, image 0"),
    ({"x": X, "y": Y[:5]}, "y as 6 class numbers"),
    ({"x": X, "y": Y - 1}, "y as 6 class numbers"),
    ({"x": X, "y": Y.astype(float)}, "y as 6 class numbers"),
    ({"x": X, "y": np.array([None] * 6)}, "a whole .npz of plain arrays needed"),
    ({"x": X, "y": Y, "test_x": X[:, :, :1], "test_y": Y}, "test_x like x needed"),
    ({"x": X, "y": Y, "class_names": np.arange(3)}, "class_names as a list of texts"),
    ({"x": X[:1], "y": Y[:1]}, "at least two images"),
])  # fmt: skip
def test_npz_wrong(tmp_path, members, message):
    np.savez(tmp_path / "a.npz", **members)
    with pytest.raises(HwgenError, match=message):
        datasets.load(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("size", [0, 50, 300])
def test_npz_truncated(tmp_path, size):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:size])
    for name in ("b.npz", "none.npz"):
        with pytest.raises(HwgenError, match="npz"):
            datasets.load(f"npz:{tmp_path / name}")


def test_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for label in ("ant", "bee"):
        (tmp_path / label).mkdir()
        for n in range(5):
            pixels = random.integers(0, 256, (6, 4, 3), np.uint8)
            image.fromarray(pixels).save(tmp_path / label / f"{n}.png")
    data = datasets.load(f"images:{tmp_path}")
    assert data.class_names == ("ant", "bee")
    assert data.train_x.shape == (8, 3, 6, 4)
    np.testing.assert_array_equal(np.sort(data.test_y), [0, 1])
    assert any(np.array_equal(pixels.transpose(2, 0, 1), x) for x in [*data.train_x, *data.test_x])
    image.fromarray(pixels[:3]).save(tmp_path / "bee" / "9.png")
    with pytest.raises(
        HwgenError, match="9.png: 4x6 pixels like the first .*, not 4x3"
    ):
        datasets.load(f"images:{tmp_path}")
    (tmp_path / "bee" / "9.png").write_bytes(b"no picture")
    with pytest.raises(HwgenError, match="9.png: a whole picture needed"):
        datasets.load(f"images:{tmp_path}")
    with pytest.raises(HwgenError, match="two or more folders"):
        datasets.load(f"images:{tmp_path / 'ant'}")


@pytest.mark.parametrize("spec", ["", "mnist", "mnist:", "digits:x", "imagenet:x", "/some/folder"])
def test_spec_wrong(spec):
    with pytest.raises(HwgenError, match="Data must be digits or one of mnist:PATH"):
        datasets.load(spec)


@pytest.mark.parametrize(("options", "message"), [
    ({"mean": [1, 2]}, "--mean: 1 finite numbers"),
    ({"std": [0.0]}, "--std: positive numbers"),
    ({"mean": [float("nan")]}, "--mean: 1 finite numbers"),
])  # fmt: skip
def test_normalisation_wrong(options, message):
    with pytest.raises(HwgenError, match=message):
        datasets.load("digits", **options)


def test_published_data_are_the_published_ones():
    if not (root := os.environ.get("HWGEN_DATA")):
        pytest.skip("HWGEN_DATA is not set: MNIST, CIFAR-10 and the faces are needed")
    data = datasets.load(f"mnist:{root}/mnist")
    assert np.bincount(data.test_y).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert np.bincount(data.train_y)[:3].tolist() == [5923, 6742, 5958]
    assert data.calibration_size == 5000
    assert data.notes == ()
    data = datasets.load(f"cifar10:{root}/cifar10")
    assert data.notes == ()
    pixels = np.ascontiguousarray(data.test_x.transpose(0, 2, 3, 1)).tobytes()
    assert hashlib.sha256(pixels).hexdigest().startswith("f9b1e2130bab680d")
    assert data.train_y[:6].tolist() == [6, 9, 9, 4, 1, 1]
    data = datasets.load(f"faces:{root}/faces")
    assert data.train_x.shape == (160, 1, 36, 32)
    assert data.notes == ()
    assert np.bincount(data.test_y).tolist() == [20, 20]


def test_what_is_not_published_is_said(tmp_path):
    mnist_folder(tmp_path)
    notes = datasets.load(f"mnist:{tmp_path}").notes
    assert len(notes) == 4
    assert notes[0].startswith("mnist: training images are not the published ones (SHA-256 741c")


def test_faces_are_resized(tmp_path):
    torch = pytest.importorskip("torch")
    crops = np.random.default_rng(0).random((10, 25, 25))
    np.save(tmp_path / "lfw_subset.npy", crops)
    data = datasets.load(f"faces:{tmp_path}")
    assert data.shape == (1, 36, 32)
    assert len(data.notes) == 1
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(crops)[:, None], (36, 32), mode="bilinear", align_corners=False
    )
    wanted = {image.tobytes(): k < 5 for k, image in enumerate(
        torch.round(wanted * 255).to(torch.uint8).numpy())}
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert [wanted[image.tobytes()] for image in x] == (y == 1).tolist()


@pytest.mark.parametrize(("crops", "message"), [
    (np.zeros((3, 25, 25)), "an even number of crops"),
    (np.full((4, 25, 25), 2.0), "floats from 0 to 1 needed"),
    (np.full((4, 25, 25), np.nan), "floats from 0 to 1 needed"),
    (np.zeros((4, 25, 25), np.uint8), "floats from 0 to 1 needed, not uint8"),
])  # fmt: skip
def test_faces_wrong(tmp_path, crops, message):
    np.save(tmp_path / "lfw_subset.npy", crops)
    with pytest.raises(HwgenError, match=message):
        datasets.load(f"faces:{tmp_path}")


def test_folds_hold_every_image_out_once():
    y = (np.arange(200) < 100).astype(np.int64)
    folds = datasets.folds(y)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(200))
    for kept, held in folds:
        assert sorted([*kept, *held]) == list(range(200))
        assert np.bincount(y[held]).tolist() == [20, 20]
    assert not np.array_equal(folds[0][1], datasets.folds(y, seed=1)[0][1])
    with pytest.raises(HwgenError, match="Folds from 2 to 200 needed"):
        datasets.folds(y, count=1)


def residual(pixels):
    """The planes G, R-G and B-G of (N, 3, H, W) after a two-dimensional difference, modulo 256."""
    red, green, blue = pixels.transpose(1, 0, 2, 3)
    planes = np.stack([green, red - green, blue - green])
    rows = np.diff(planes, axis=3, prepend=np.zeros_like(planes[..., :1]))
    return np.diff(rows, axis=2, prepend=np.zeros_like(rows[:, :, :1]))


def cifar_residual_folder(folder):
    pixels = np.random.default_rng(5).integers(0, 256, (6, 4, 3, 32, 32), np.uint8)
    names = [*(f"train_{n}" for n in range(1, 6)), "test"]
    for name, batch in zip(names, pixels, strict=True):
        (folder / f"{name}.residual.xz").write_bytes(lzma.compress(residual(batch).tobytes()))
    for name, count in (("train", 20), ("test", 4)):
        labels = idx((np.arange(count) % 10).astype(np.uint8))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return pixels


def test_cifar10_residual(tmp_path):
    pixels = cifar_residual_folder(tmp_path)
    data = datasets.load(f"cifar10:{tmp_path}")
    np.testing.assert_array_equal(data.train_x, pixels[:5].reshape(20, 3, 32, 32))
    np.testing.assert_array_equal(data.test_x, pixels[5])
    assert data.test_y.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut", "short", "missing", "labels"])
def test_cifar10_residual_broken(tmp_path, damage):
    cifar_residual_folder(tmp_path)
    path = tmp_path / "train_3.residual.xz"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-20])
        case "short":
            path.write_bytes(lzma.compress(bytes(3000)))
        case "missing":
            path.unlink()
        case "labels":
            path = tmp_path
            labels = idx(np.zeros(19, np.uint8))
            (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    with pytest.raises(HwgenError) as caught:
        datasets.load(f"cifar10:{tmp_path}")
    assert str(path) in str(caught.value) or path.name in str(caught.value)
    assert "\n" not in str(caught.value)
