"""Terms of an accumulator that can be walked together become one: one COMPUTE in place of two.

A residual addition is an identity beside a convolution, or two identities. Where both go over
their images with the same strides, the smaller kernel is a place under the larger one, and the two
tensors are one of more channels: their pixels lie behind each other in NBin, and the taps of both
form one list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwgen.layers import Int64Array
from hwgen.nfu.compiler.tasks import Term
from hwgen.nfu.compiler.views import View, joined

MOST_WEIGHTS = 1 << 24        # of the term that comes of it


def merged(terms: Sequence[Term], views: Sequence[View]) -> tuple[list[Term], list[View]]:
    """Return fewer terms of the same sum, and their views."""
    done: list[tuple[Term, View]] = []
    for n in sorted(range(len(terms)), key=lambda n: -len(terms[n].taps)):
        term, view = terms[n], views[n]
        for place, (other, other_view) in enumerate(done):
            offset = _place(term, view, other, other_view)
            if offset is not None:
                both = _both(other, other_view.channels, term, view.channels, offset)
                done[place] = both, joined([other_view, view])
                break
        else:
            done.append((term, view))
    return [term for term, _ in done], [view for _, view in done]


def _place(term: Term, view: View, other: Term, other_view: View) -> tuple[int, int] | None:
    """Return the tap of the other term at which this one's kernel begins; None if there is none."""
    if (view.height, view.width, term.stride) != (
            other_view.height, other_view.width, other.stride) or view.edged != other_view.edged:
        return None
    if term.groups > 1 or other.groups > 1 or term.factor * other.factor == 0:
        return None
    if len(term.taps) > 1 and term.dilation != other.dilation:
        return None
    offset = []
    for axis in range(2):
        way, reach = divmod(other.padding[axis] - term.padding[axis], other.dilation[axis])
        if reach or way < 0 or way + term.kernel[axis] > other.kernel[axis]:
            return None
        offset.append(way)
    outputs = len(other.weight) if other.weight is not None else other_view.channels
    if outputs * (view.channels + other_view.channels) * len(other.taps) > MOST_WEIGHTS:
        return None
    return offset[0], offset[1]


def _both(large: Term, channels: int, small: Term, more: int, offset: tuple[int, int]) -> Term:
    weight, added = _weight(large, channels), _weight(small, more)
    wide = np.zeros((len(weight), more, *large.kernel), np.int64)
    rows, columns = (slice(start, start + size)
                     for start, size in zip(offset, small.kernel, strict=True))
    wide[:, :, rows, columns] = added
    return replace(large, weight=np.concatenate([weight, wide], axis=1), factor=1)


def _weight(term: Term, channels: int) -> Int64Array:
    """Return a term's weights; of an identity, or a sum over a window, those it stands for."""
    if term.weight is not None:
        return term.weight
    taps: Int64Array = np.eye(channels, dtype=np.int64)[:, :, None, None] * np.full(
        term.kernel, term.factor)
    return taps
