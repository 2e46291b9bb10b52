"""A few images with what the golden model and the hardware made of them, for people to look at."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from hwgen.files import write_atomic
from hwgen.layers import Int64Array
from hwgen.sim import golden
from hwgen.sim.compare import Comparison
from hwgen.sim.design import Folder

COUNT = 8
WRONG_CLASS = 2  # of them, images that are put into a wrong class, where there are such


def write_samples(
    folder: Folder,
    codes: Int64Array,
    labels: npt.NDArray[np.int64] | None,
    result: Comparison,
) -> None:
    """Write ``samples.npz`` into a design's folder, or remove an earlier one.

    There is none without results of one beat an image. The file holds ``digest`` of the network,
    ``index`` (N,) of each image among those sent, ``images`` (N, C, H, W) int64 codes, ``labels``
    (N,) if known, ``names`` of the output port's fields, and ``golden`` and ``hardware``, their
    values, (N, fields) int64; ``NOTHING`` of hwgen.sim.compare where the hardware gave none.

    Parameters: codes, all images sent; labels, theirs or None; result, the comparison.
    Raises: HwgenError if the file cannot be written.
    """
    path = folder.path / "samples.npz"
    if result.results is None:
        path.unlink(missing_ok=True)
        return
    network, fields = folder.design.network, folder.design.ports.output.fields
    index = _choice(result, labels, len(result.results))
    expected = golden.run(network, codes[index], keep={field.layer for field in fields})
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "digest": np.array(network.digest),
        "index": index,
        "images": np.asarray(codes[index], np.int64),
        "names": np.array([field.name for field in fields]),
        "golden": np.stack(
            [expected[field.layer][:, field.channel, 0, 0] for field in fields], axis=1
        ),
        "hardware": result.results[index],
    }
    if labels is not None:
        arrays["labels"] = labels[index]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def _choice(
    result: Comparison, labels: npt.NDArray[np.int64] | None, count: int
) -> Int64Array:
    """Return the images to show, rising: the first that differs, some in a wrong class, the first
    ones.
    """
    chosen: dict[int, None] = {}
    if result.first is not None:
        chosen[result.first.image] = None
    if labels is not None and result.classes is not None:
        wrong = np.flatnonzero(result.classes != labels)[:WRONG_CLASS]
        chosen.update(dict.fromkeys(wrong.tolist()))
    chosen.update(dict.fromkeys(range(count)))
    return np.array(sorted(list(chosen)[:COUNT]), np.int64)
