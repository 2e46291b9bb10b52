"""Linear features: how much of the convolutions' MACs a budget of accuracy saves.

``python -m benchmarks.linear_features [MODEL DATA]... [--budget 1.0] [--terms N]
[--finetune EPOCHS] [--json FILE]``. Beside the paper's 15 to 80 %, median 52 %, at one point
(Nagaraju and Chandrachoodan 2023, abstract). Counted are the filters that stay and the products of
the combinations; weights are Q16, so that hardly anything of the budget goes to rounding. The
search looks at training images; the accuracies are those of all test images, the integer network's
in the golden model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _searched as searched

PAPER = {"least_percent": 15, "most_percent": 80, "median_percent": 52}


def main() -> None:
    """Print a row a network and the median."""
    parser = searched.arguments("MACs saved by linear features under a budget of accuracy.")
    parser.add_argument("--terms", type=int, help="basis maps of a combination, at most")
    options = parser.parse_args()
    terms = "all" if options.terms is None else str(options.terms)
    methods = (f"linear-features:terms={terms}", "dyadic:Q16")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model, data in searched.pairs_of(parser, options.pairs, Path(folder)):
            report, network = searched.compress(
                model, data, methods, budget=options.budget, objective="macs",
                finetune=options.finetune,
            )
            rows.append(searched.row(model, data, report, network))
    searched.show(f"Linear features, budget {options.budget:g} points", rows)
    middle = searched.median(rows, "saved_percent")
    print(f"median saving {middle} %; the paper: 15 to 80 %, median 52 %")
    searched.finish(options.json, {
        "method": list(methods), "budget": options.budget, "finetune": options.finetune,
        "networks": rows, "median_percent": middle, "paper": PAPER,
    })  # fmt: skip


if __name__ == "__main__":
    main()
