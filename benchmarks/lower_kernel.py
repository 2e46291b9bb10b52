"""Lower kernels: how much of the convolutions' MACs a budget of accuracy saves.

``python -m benchmarks.lower_kernel [MODEL DATA]... [--budget 1.0] [--unit filter|kernel]
[--finetune EPOCHS] [--json FILE]``. Beside the paper's 33 to 95 %, median 65 %, at one point
(Nagaraju and Chandrachoodan 2023, abstract). MACs outside the windows are saved; weights are Q16,
so that hardly anything of the budget goes to rounding. The search looks at training images; the
accuracies are those of all test images, the integer network's in the golden model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _searched as searched

PAPER = {"least_percent": 33, "most_percent": 95, "median_percent": 65}


def main() -> None:
    """Print a row a network and the median."""
    parser = searched.arguments("MACs saved by lower kernels under a budget of accuracy.")
    parser.add_argument("--unit", choices=("filter", "kernel"), default="filter")
    options = parser.parse_args()
    methods = (f"lower-kernel:unit={options.unit}", "dyadic:Q16")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model, data in searched.pairs_of(parser, options.pairs, Path(folder)):
            report, network = searched.compress(
                model, data, methods, budget=options.budget, objective="macs",
                finetune=options.finetune,
            )
            rows.append(searched.row(model, data, report, network))
    searched.show(f"Lower kernels, by {options.unit}, budget {options.budget:g} points", rows)
    middle = searched.median(rows, "saved_percent")
    print(f"median saving {middle} %; the paper: 33 to 95 %, median 65 %")
    searched.finish(options.json, {
        "method": list(methods), "budget": options.budget, "finetune": options.finetune,
        "networks": rows, "median_percent": middle, "paper": PAPER,
    })  # fmt: skip


if __name__ == "__main__":
    main()
