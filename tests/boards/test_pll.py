from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hwgen.boards.board import MODULES, find_board
from hwgen.boards.clock import filter_range
from hwgen.boards.pll import Pll, Step, fastest, is_allowed, steps
from hwgen.errors import HwgenError

# The ranges once more, as the data sheets have them, in MHz: input, phase detector, oscillator,
# output; and how large r, f and q may be.
SHEETS = {
    Pll.EHXPLLL: ((8, 400), (10, 400), (400, 800), (3.125, 400), 128, 128, 128),
    Pll.SB_PLL40: ((10, 133), (10, 133), (533, 1066), (16, 275), 16, 128, 64),
    Pll.RPLL: ((3, 400), (3, 400), (400, 1200), (3.125, 600), 64, 64, 128),
    Pll.MMCM: ((10, 800), (10, 450), (600, 1200), (4.69, 800), 106, 64, 128),
}
CLOCKS = sorted({(find_board(name).pll, find_board(name).clock_hz) for name in MODULES},
                key=lambda pair: (pair[0].name, pair[1]))


def frequencies(step: Step) -> tuple[float, float, float]:
    """Phase detector, oscillator and output in MHz, from the dividers alone."""
    pfd = step.input_hz / 1e6 / step.r
    if step.pll is Pll.RPLL:                        # the loop is closed behind q
        return pfd, pfd * step.f * step.q, pfd * step.f
    return pfd, pfd * step.f, pfd * step.f / step.q


def inside(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] * (1 - 1e-12) <= value <= ends[1] * (1 + 1e-12)


@pytest.mark.parametrize(("pll", "input_hz"), CLOCKS)
@pytest.mark.parametrize("wanted", [20, 33.3, 50, 87.654, 150])
def test_in_the_data_sheet(pll, input_hz, wanted):
    step = fastest(pll, input_hz, wanted)
    reference, pfd, vco, output, r, f, q = SHEETS[pll]
    found = frequencies(step)
    assert inside(input_hz / 1e6, reference)
    assert all(inside(a, b) for a, b in zip(found, (pfd, vco, output), strict=True))
    assert step.r <= r
    assert step.f <= f
    assert step.q <= q
    assert float(step.output_hz) == pytest.approx(found[2] * 1e6)
    assert wanted * 0.94 < found[2] <= wanted


@pytest.mark.parametrize(("pll", "input_hz"), CLOCKS)
def test_nothing_is_faster(pll, input_hz):
    """All dividers tried with floating point arithmetic."""
    _, pfd_ends, vco_ends, output_ends, r, f, q = SHEETS[pll]
    qs = np.array([1 << n for n in range(1, 7)] if pll is Pll.SB_PLL40 else
                  [2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128] if pll is Pll.RPLL else
                  range(1, q + 1))
    least_f = 2 if pll is Pll.MMCM else 1
    pfd = input_hz / 1e6 / np.arange(1, r + 1)[:, None, None]
    inner = pfd * np.arange(least_f, f + 1)[None, :, None]
    outer = pll is Pll.RPLL
    vco, out = (inner * qs, inner + 0 * qs) if outer else (inner + 0 * qs, inner / qs)
    limit = 61.7
    allowed = (pfd >= pfd_ends[0] - 1e-9) & (pfd <= pfd_ends[1]) & (vco >= vco_ends[0] - 1e-9)
    allowed &= (vco <= vco_ends[1] + 1e-9) & (out >= output_ends[0]) & (out <= limit)
    best = out[allowed & (out <= output_ends[1])].max()
    assert float(fastest(pll, input_hz, limit).output_hz) / 1e6 == pytest.approx(best)


@pytest.mark.parametrize(
    ("wanted", "f", "q", "filter"), [(60, 80, 16, 1), (48, 64, 16, 1), (100.5, 67, 8, 1)]
)
def test_known_settings_of_ice40(wanted, f, q, filter):
    """What icepll, of the IceStorm project, answers for 12 MHz: DIVF f - 1, DIVQ log2(q)."""
    step = fastest(Pll.SB_PLL40, 12_000_000, wanted)
    assert (step.r, step.f, step.q, filter_range(step)) == (1, f, q, filter)


@pytest.mark.parametrize("wanted", [54, 81, 108])
def test_the_same_as_apycula(wanted):
    """The chooser that comes with the Gowin tools finds the same output, and dividers of it."""
    done = subprocess.run(
        [sys.executable, "-m", "apycula.gowin_pll", "-i", "27", "-o", str(wanted)],
        capture_output=True, encoding="utf-8", check=True,
    )
    step = fastest(Pll.RPLL, 27_000_000, wanted)
    assert float(step.output_hz) == wanted * 1e6
    assert f".FBDIV_SEL({step.f - 1})" in done.stdout.replace(" ", "")
    assert f".IDIV_SEL({step.r - 1})" in done.stdout.replace(" ", "")


def test_too_slow():
    with pytest.raises(HwgenError, match="The PLL makes 16.125 MHz or more of 12 MHz, at most 14"):
        fastest(Pll.SB_PLL40, 12_000_000, 14)


def test_no_step_of_this_input():
    assert not list(steps(Pll.SB_PLL40, 4_000_000))
    with pytest.raises(HwgenError, match="The PLL makes none of 4 MHz, at most 50.00 MHz needed"):
        fastest(Pll.SB_PLL40, 4_000_000, 50)


@pytest.mark.parametrize(
    "step",
    [
        Step(Pll.EHXPLLL, 25_000_000, 3, 72, 6),            # phase detector at 8.3 MHz
        Step(Pll.EHXPLLL, 25_000_000, 1, 36, 9),            # oscillator at 900 MHz
        Step(Pll.SB_PLL40, 12_000_000, 1, 40, 16),          # oscillator at 480 MHz
        Step(Pll.SB_PLL40, 12_000_000, 1, 80, 3),           # no such divider
        Step(Pll.RPLL, 27_000_000, 1, 65, 2),               # nor this one
        Step(Pll.MMCM, 5_000_000, 1, 64, 8),                # input too slow
    ],
)
def test_not_allowed(step):
    assert not is_allowed(step)
