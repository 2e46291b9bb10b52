"""Lower kernels: how much of the convolutions' MACs a budget of accuracy saves.

``python -m benchmarks.lower_kernel [MODEL DATA]... [--budget 1.0] [--unit filter|kernel]
[--finetune EPOCHS] [--json FILE]``. Beside the paper's 33 to 95 %, median 65 %, at one point
(Nagaraju and Chandrachoodan 2023, abstract). MACs outside the windows are saved; weights are Q16,
so that hardly anything of the budget goes to rounding. The search looks at training images; the
accuracies are those of all test images, the integer network's in the golden model.
"""

from __future__ import annotations

from benchmarks import _searched as searched

PAPER = {"least_percent": 33, "most_percent": 95, "median_percent": 65}


def main() -> None:
    """Print a row a network and the median."""
    parser = searched.arguments("MACs saved by lower kernels under a budget of accuracy.")
    parser.add_argument("--unit", choices=("filter", "kernel"), default="filter")
    options = parser.parse_args()
    methods = (f"lower-kernel:unit={options.unit}", "dyadic:Q16")
    searched.savings(f"Lower kernels, by {options.unit}", methods, PAPER, parser, options)


if __name__ == "__main__":
    main()
