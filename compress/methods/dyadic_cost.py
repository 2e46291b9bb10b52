"""What dyadic weights cost: by digits, by sharing of multiples, and as adder graphs that are built.

Adders are two-input additions and subtractions. Weights are whole numbers, (co, ci, kh, kw) or
(outputs, inputs); a scale by output channel or layer is applied behind the sum and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.adders import search
from hwgen.compress.methods.adder_budget import Options, spread
from hwgen.compress.methods.dyadic import Result
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array

Counter = Callable[[Int64Array], int]


@dataclass(frozen=True)
class Shared:
    """Adders where an input is multiplied once for all that it goes to (a transposed filter).

    Parameters
    ----------
    multiples : int
        That make the odd multiples of each input channel, shared by all weights on it.
    sums : int
        That accumulate: one a nonzero weight, but for the first of each output channel.
    """

    multiples: int
    sums: int

    @property
    def adders(self) -> int:
        """All of them."""
        return self.multiples + self.sums


def digit_adders(codes: Int64Array) -> int:
    """Adders without any sharing: canonical signed digits less one, for each output channel."""
    by_output = digit_count(codes).reshape(len(codes), -1).sum(1)
    return int(np.maximum(by_output - 1, 0).sum())


def shared_adders(codes: Int64Array) -> Shared:
    """Adders of a transposed filter, its multiples built by ``hwgen.adders``.

    With levels k/8 only 3, 5 and 7 times an input are needed beside itself: three adders an input
    channel, whatever the number of filters; then a nonzero weight is one adder. The graph of each
    channel is built and counted, not estimated.
    """
    used = np.count_nonzero(codes.reshape(len(codes), -1), axis=1)
    multiples = 0
    for channel in range(codes.shape[1]):
        values = np.unique(np.abs(codes[:, channel]))
        values = values[values > 0]
        odd = np.unique(values // (values & -values))
        if odd.size:
            graph = search.build(odd[None].astype(np.int64), input_lo=-128, input_hi=127)
            multiples += graph.adders
    return Shared(multiples, int(np.maximum(used - 1, 0).sum()))


TRIALS = 12  # graphs that are built of each layer, at most
LARGEST_GRAPH = 4000  # digits; a layer with more is not built as one graph


def graph_adders(codes: Int64Array, *, groups: int = 1) -> int:
    """Adders of the shared graph that ``hwgen.adders`` builds of a layer's matrix.

    A layer of more than ``LARGEST_GRAPH`` digits counts without sharing, as in ``compress.json``.

    Parameters: codes; groups, of a grouped convolution, each a graph of its own.
    """
    if int(digit_count(codes).sum()) > LARGEST_GRAPH:
        return digit_adders(codes)
    total = 0
    for part in np.split(codes, groups):
        matrix = np.ascontiguousarray(part.reshape(len(part), -1).T)
        total += search.build(matrix, input_lo=-128, input_hi=127).adders
    return total


def spread_adders(
    layers: Sequence[npt.ArrayLike],
    adders: int,
    options: Options | Sequence[Options],
    *,
    count: Counter = graph_adders,
) -> tuple[Result, ...]:
    """Approximate layers within a budget of true adders: the largest budget of digits that fits.

    Digits are searched for to half a percent. More digits take more adders as a rule, not always:
    the result is within the budget, but another one that is may be better.

    Parameters
    ----------
    layers, options
        As of ``adder_budget.spread``.
    adders : int
        Of all layers' sums together, biases left out.
    count : callable
        Codes of a layer to adders.

    Raises: HwgenError as of ``spread``, or for a negative budget.
    """
    if adders < 0:
        raise HwgenError(f"A budget of 0 adders or more needed, not {adders}")
    most = 8 * sum(np.asarray(layer).size for layer in layers)  # no level has more than 8 digits
    best = spread(layers, 0, options)
    inside, fits = 0, 0                 # digits that fit, and their adders
    outside, over = most + 1, 0         # digits that do not, and theirs; 0: not counted yet
    trial = min(most, adders + adders // 4 + 1)
    for _ in range(TRIALS):
        found = spread(layers, trial, options)
        taken = sum(count(result.codes) for result in found)
        if taken <= adders:
            inside, fits, best = trial, taken, found
        else:
            outside, over = trial, taken
        if outside - inside <= max(1, inside // 200):
            break
        # Adders grow nearly evenly with digits.
        slope = (over - fits) / (outside - inside) if over else fits / max(inside, 1)
        step = round((adders - fits) / slope) if slope > 0 else outside - inside
        trial = inside + min(max(step, 1), outside - inside - 1)
    return best
