"""Which class the images of each class were put into."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST = 100                     # classes of which there is a table


def confusion(
    labels: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], count: int
) -> list[list[int]] | None:
    """Return the images of each class (a row) by the class they were put into (a column).

    Parameters: labels, (N,); classes, (N,), those beyond the network's are left out; count, of
    classes.
    Returns: None if there are more than 100 classes.
    """
    if count > MOST:
        return None
    table = np.zeros((count, count), np.int64)
    known = (labels >= 0) & (labels < count) & (classes >= 0) & (classes < count)
    np.add.at(table, (labels[known], classes[known]), 1)
    rows: list[list[int]] = table.tolist()
    return rows
