"""The figures of the documentation: ``python tools/figures.py [NAME ...]`` writes docs/figures/.

Those of the methods are computed here, by the methods themselves, on weights that are drawn at
random (Laplace, fixed seeds): they show what a method does, not how good a network becomes. Those
of the engines are simulations (tools/timing_figures.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hwgen.compress.methods import (  # found by the line above
    dyadic,
    linear_features,
    lower_kernel,
    periodic,
    ternary,
)
from hwgen.files import make_folder, write_atomic
from hwgen.layers import signed_digits
from tools.chart import COLOURS, INK, SOFT, Chart, frame, kernel, label, svg

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"
FloatArray = npt.NDArray[np.float64]


def laplace(seed: int, *shape: int) -> FloatArray:
    """Return weights as trained ones are spread: many small, few large."""
    return np.random.default_rng(seed).laplace(size=shape)


def dyadic_kernel() -> str:
    """A kernel, and what is left of it over two sets."""
    weights = laplace(4, 1, 1, 5, 5)
    parts = []
    for n, (title, name) in enumerate((("the kernel", ""), ("T3", "T3"), ("P7", "P7"))):
        x = 8 + 206 * n
        if name:
            found = dyadic.approximate(weights, dyadic.Options(
                dyadic.Levels(dyadic.SETS[name]), dyadic.Scale.KERNEL))
            shares = [Fraction(int(code), 1 << found.bits) for code in found.codes[0, 0].ravel()]
            words = np.array([str(share).replace("-", "−") for share in shares]).reshape(5, 5)
            scale, lost = float(found.scale[0, 0]), float((found.error / found.energy)[0, 0])
            values = np.array([float(share) for share in shares]).reshape(5, 5) * scale
            about = f"{scale:.2f} times {name}, {100 * lost:.1f} % lost"
        else:
            values = weights[0, 0]
            words = np.array([f"{value:.1f}".replace("-", "−") for value in values.ravel()]
                             ).reshape(5, 5)
            about = title
        parts += kernel(x, 8, values, 38, largest=float(np.abs(weights).max()), words=words)
        parts.append(label(x, 220, about, colour=SOFT))
    return svg(620, 232, "A kernel of real weights, and two dyadic ones", parts)


def dyadic_sets() -> str:
    """Error against digits, for each set and each reach of a scale."""
    weights = laplace(5, 64, 32, 5, 5) * np.exp(
        0.6 * np.random.default_rng(6).normal(size=(64, 32, 1, 1)))
    chart = Chart(
        "Error against digits a weight of the seven sets, for three reaches of a scale",
        "signed digits a weight", "squared error, relative", [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4],
        [0.001, 0.01, 0.1, 1], log=True)
    for scale in dyadic.Scale:
        digits, errors = [], []
        for name in dyadic.SETS:
            found = dyadic.approximate(weights, dyadic.Options(
                dyadic.Levels(dyadic.SETS[name]), scale))
            digits.append(float(np.mean([signed_digits(int(c)) for c in found.codes.ravel()])))
            errors.append(float(found.error.sum() / found.energy.sum()))
        order = np.argsort(digits)
        chart.line(f"a scale a {scale.value}", [digits[n] for n in order],
                   [errors[n] for n in order], marks=True,
                   words=[list(dyadic.SETS)[n] for n in order] if scale.value == "kernel" else ())
    return chart.draw()


def linear_features_energy() -> str:
    """What is lost against what is kept."""
    mixed = laplace(7, 32, 12) @ laplace(8, 12, 72) + 0.9 * laplace(9, 32, 72)
    total = float((mixed**2).sum())
    kept = list(range(2, 33, 2))
    chart = Chart(
        "Energy lost against filters kept, of 32: pivots, the smallest dropped, the bound",
        "filters kept, of 32", "energy lost, relative", [0, 8, 16, 24, 32],
        [0, 0.2, 0.4, 0.6, 0.8, 1])
    pivots = [float(linear_features.approximate(mixed, linear_features.Options(basis=n)
                                                ).error.sum()) / total for n in kept]
    norms = np.sort((mixed**2).sum(1))[::-1]
    singular = np.linalg.svd(mixed, compute_uv=False) ** 2
    chart.line("the smallest filters dropped", kept,
               [float(norms[n:].sum()) / total for n in kept])
    chart.line("combinations of pivots", kept, pivots)
    chart.line("bound", kept, [float(singular[n:].sum()) / total for n in kept])
    return chart.draw()


def lower_kernel_windows() -> str:
    """Filters, the best window of each under one budget of taps."""
    centre = np.exp(-np.add.outer(*[(np.arange(5) - 2.0) ** 2] * 2)[None] / (
        np.array([0.5, 4, 1, 8, 2, 0.7, 5, 1.5])[:, None, None]))
    shifted = np.stack([np.roll(part, (n % 3 - 1, n % 2), (0, 1))
                        for n, part in enumerate(centre)])
    weights = (laplace(10, 8, 1, 5, 5) * shifted[:, None])
    options = lower_kernel.Options()
    found = lower_kernel.curves(weights, (3, 1), options)
    energy = float((weights**2).sum())
    levels = lower_kernel.within(found, 0.05 * energy)
    shrunk = lower_kernel.shrink(weights, levels, found, options)
    parts = []
    for n in range(8):
        x, y = 8 + 152 * (n % 4), 8 + 152 * (n // 4)
        parts += kernel(x, y, weights[n, 0], 26, largest=float(np.abs(weights[n]).max()))
        rows, columns = np.nonzero(shrunk.mask[n, 0])
        parts.append(frame(x + 26 * columns.min(), y + 26 * rows.min(),
                           26 * (np.ptp(columns) + 1), 26 * (np.ptp(rows) + 1)))
    kept = int(np.count_nonzero(shrunk.mask))
    parts.append(label(8, 316, f"{kept} of 200 taps stay, at most 5 % of the energy is lost",
                       colour=SOFT))
    return svg(620, 328, "Eight filters of 5 x 5 taps, the window that each keeps outlined", parts)


def lower_kernel_cycles() -> str:
    """Speed of a tiled array against the share of small kernels, sorted and not."""
    shares = [n / 16 for n in range(13)]
    small = [round(128 * share) for share in shares]
    random = np.random.default_rng(11)

    def gain(order: npt.NDArray[np.int64]) -> float:
        return 128 / 16 * 9 / float(order.reshape(-1, 16).max(1).sum())

    def taps(count: int) -> npt.NDArray[np.int64]:
        return np.repeat([1, 9], [count, 128 - count])

    chart = Chart(
        "Speed against the part of 128 filters of 3 x 3 that became 1 x 1, on 16 x 16 lanes",
        "part of the filters that became 1 x 1", "times as fast", [0, 0.25, 0.5, 0.75],
        [1, 2, 3])
    chart.line("ideal", shares, [9 / (9 - 8 * share) for share in shares])
    chart.line("sorted by size", shares, [gain(taps(count)) for count in small], marks=True)
    chart.line("in random order", shares, [gain(random.permutation(taps(count)))
                                           for count in small], marks=True)
    return chart.draw()


def periodic_supports() -> str:
    """Which taps a kernel may use, by filter and channel."""
    parts = []
    for name, top in (("PS4_P4", 22), ("PSD2_P8", 206)):
        options = periodic.Options(periodic.Variant.parse(name), supports=periodic.Supports.RULE)
        mask = periodic.mask((3, 9, 3, 3), options).astype(np.float64)
        parts.append(label(8, top - 8, f"{name}: filters 0 to 2 downwards, channels 0 to 8 across"))
        for i, j in np.ndindex(3, 9):
            parts += kernel(8 + 68 * j, top + 54 * i, 0.75 * mask[i, j], 16, largest=1.0)
    return svg(620, 372, "Periodic supports of two variants", parts)


def ternary_error() -> str:
    """Error against the part of the weights that is kept."""
    weights = laplace(12, 4000)
    errors = ternary.errors_by_kept(weights)
    best = int(np.argmin(errors))
    places = np.unique(np.linspace(19, len(errors) - 1, 160).astype(int))
    chart = Chart(
        "Error of the best ternary weights against the part that is kept",
        "part of the weights that is kept", "squared error, relative", [0, 0.2, 0.4, 0.6, 0.8, 1],
        [0, 0.2, 0.4, 0.6, 0.8, 1])
    chart.line("weights kept, largest first; sigma is their mean magnitude",
               [float(n + 1) / len(errors) for n in places], [float(errors[n]) for n in places])
    x, y = chart.at((best + 1) / len(errors), float(errors[best]))
    chart.parts += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[3]}"/>',
        label(x, y + 20, f"least: {100 * (best + 1) / len(errors):.0f} % kept, "
                         f"error {errors[best]:.2f}", anchor="middle", colour=INK)]
    return chart.draw()


FIGURES: dict[str, Callable[[], str]] = {
    "dyadic-kernel": dyadic_kernel, "dyadic-sets": dyadic_sets,
    "linear-features": linear_features_energy, "lower-kernel-windows": lower_kernel_windows,
    "lower-kernel-cycles": lower_kernel_cycles, "periodic": periodic_supports,
    "ternary": ternary_error,
}


def main(names: list[str]) -> int:
    """Write the figures of these names, or all."""
    from tools.timing_figures import FIGURES as TIMING

    known = {**FIGURES, **TIMING}
    if unknown := [name for name in names if name not in known]:
        print(f"A figure of {', '.join(known)} needed, not {unknown[0]}", file=sys.stderr)
        return 2
    for name in names or known:
        write_atomic(make_folder(FOLDER) / f"{name}.svg", known[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
