"""Linear features: how much of the convolutions' MACs a budget of accuracy saves.

``python -m benchmarks.linear_features [MODEL DATA]... [--budget 1.0] [--terms N]
[--finetune EPOCHS] [--json FILE]``. Beside the paper's 15 to 80 %, median 52 %, at one point
(Nagaraju and Chandrachoodan 2023, abstract). Counted are the filters that stay and the products of
the combinations; weights are Q16, so that hardly anything of the budget goes to rounding. The
search looks at training images; the accuracies are those of all test images, the integer network's
in the golden model.
"""

from __future__ import annotations

from benchmarks import _searched as searched

PAPER = {"least_percent": 15, "most_percent": 80, "median_percent": 52}


def main() -> None:
    """Print a row a network and the median."""
    parser = searched.arguments("MACs saved by linear features under a budget of accuracy.")
    parser.add_argument("--terms", type=int, help="basis maps of a combination, at most")
    options = parser.parse_args()
    terms = "all" if options.terms is None else str(options.terms)
    methods = (f"linear-features:terms={terms}", "dyadic:Q16")
    searched.savings("Linear features", methods, PAPER, parser, options)


if __name__ == "__main__":
    main()
