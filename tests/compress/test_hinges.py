"""Tables of leaky ReLU and hard swish against the functions themselves, over every input code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hwgen.compress import hinges
from hwgen.compress.calibrate import Format
from hwgen.compress.importers.graph import Curve
from hwgen.errors import HwgenError
from hwgen.layers import signed_digits
from hwgen.sim import golden


def codes_of(table, x):
    """The golden model's codes."""
    return golden.activation(
        x.reshape(1, 1, 1, -1), breakpoints=table.breakpoints, slopes=table.slopes,
        offsets=table.offsets, shift=table.shift, lo=table.lo, hi=table.hi,
    ).ravel()  # fmt: skip


def exact(curve, x):
    values = torch.from_numpy(x)
    made = F.hardswish(values) if curve.function == "hardswish" else F.leaky_relu(
        values, curve.slope)  # fmt: skip
    return made.numpy()


@pytest.mark.parametrize("form", [Format(-1024, 1023, 7), Format(-1024, 1023, 9),
                                  Format(-128, 127, 2), Format(-8, 7, 0), Format(0, 255, 4)])
@pytest.mark.parametrize("out", [Format(-128, 127, 4), Format(-128, 127, 1), Format(-8, 120, 6)])
@pytest.mark.parametrize(("curve", "bound"), [
    (Curve("c", ("x",), "hardswish"), 3 / 256),
    (Curve("c", ("x",), "leaky_relu", 0.25), 0.0),
    (Curve("c", ("x",), "leaky_relu", 0.0), 0.0),
    (Curve("c", ("x",), "leaky_relu", 1.0), 0.0),
    (Curve("c", ("x",), "leaky_relu", 0.1), None),
    (Curve("c", ("x",), "leaky_relu", 0.01), None),
])  # fmt: skip
def test_every_code(curve, bound, form, out):
    table = hinges.fit(curve, form=form, out=out, segments=16)
    x = np.arange(form.lo, form.hi + 1)
    real = np.ldexp(x.astype(np.float64), -form.frac)
    wanted = exact(curve, real)
    if bound is None:                              # a slope of two digits: at most 1/11 away
        bound = curve.slope / 11 * max(0.0, -real.min())
    found = np.ldexp(codes_of(table, x).astype(np.float64), -out.frac)
    clipped = np.clip(wanted, np.ldexp(out.lo, -out.frac), np.ldexp(out.hi, -out.frac))
    half = np.ldexp(0.5, -out.frac)
    assert np.abs(found - clipped).max() <= half + bound + 2.0**-10
    assert table.error <= bound + 2.0**-10
    assert max(map(signed_digits, table.slopes.tolist())) <= 2


def test_segments_wrong():
    with pytest.raises(HwgenError, match="A table of 7 segments or more needed, not 6"):
        hinges.fit(Curve("c", ("x",), "hardswish"), form=Format(-8, 7, 0), out=Format(-8, 7, 0),
                   segments=6)  # fmt: skip


def test_fewer_segments():
    curve, form, out = Curve("c", ("x",), "hardswish"), Format(-512, 511, 6), Format(-128, 127, 4)
    table = hinges.fit(curve, form=form, out=out, segments=10)
    assert table.slopes.size == 7
    assert 0.04 < table.error <= 3 / 64
    assert hinges.fit(curve, form=form, out=out, segments=16).slopes.size == 11
