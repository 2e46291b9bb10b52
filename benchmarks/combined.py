"""Methods together against each alone, under one budget of accuracy; and what a combination loses.

``python -m benchmarks.combined [MODEL DATA]... [--budget 1.0] [--objective adders|luts|cycles|macs]
[--finetune EPOCHS] [--json FILE]``. Two tables: the cost of the cheapest network within the budget,
searched with one method open and with all of them (where a method is not meant, weights are Q16 and
all of them stay); and, with fixed amounts, the loss and the MACs of lower kernels, coarse dyadic
weights and one ternary layer, each alone and together, beside the sum of the losses and the product
of what each leaves of the MACs. Costs are unshared (``hwgen.cost.total``). The search looks at
training images; losses are on all test images.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import _searched as searched
from benchmarks._prepared import Kept
from hwgen.cost import Objective, total
from hwgen.errors import HwgenError
from hwgen.layers import Conv2d, Dense

ALONE = {
    "dyadic": ("dyadic",),
    "lower-kernel": ("lower-kernel", "dyadic:Q16"),
    "linear-features": ("linear-features", "dyadic:Q16"),
    "periodic": ("periodic", "dyadic:Q16"),
    "ternary": ("ternary", "dyadic:Q16"),
}
TOGETHER = ("linear-features", "lower-kernel", "periodic", "ternary", "dyadic")
START = ("dyadic:Q16",)


def under_budget(model: str, data: str, options: Any, kept: Kept) -> dict[str, Any]:
    """Return the cost of each method alone and of all together."""
    aim = Objective(options.objective)

    def measure(name: str, methods: tuple[str, ...], budget: float | None) -> Any:
        try:
            report, network = searched.compress(
                model, data, methods, budget=budget, objective=aim.value,
                finetune=0 if budget is None else options.finetune, device=options.device,
            )
        except HwgenError as error:
            searched.tell(f"  {error}")
            return None
        return _row(name, report, total(network, aim))

    runs: dict[str, tuple[tuple[str, ...], float | None]] = {"none (Q16)": (START, None)}
    runs |= {name: (methods, options.budget) for name, methods in ALONE.items()}
    runs["all"] = TOGETHER, options.budget
    found = [
        kept.get(
            f"{Path(model).stem} {aim.value} {options.budget:g} {options.finetune} {name}",
            lambda name=name, run=run: measure(name, *run),
        )
        for name, run in runs.items()
        if not options.only or name in options.only
    ]
    rows = [row for row in found if row is not None]
    if options.only:
        return {"rows": rows, "gain": 0.0}
    for one in rows:
        one["saved_percent"] = round(100 * (1 - one["cost"] / rows[0]["cost"]), 1)
    best = min(one["cost"] for one in rows[1:-1])
    return {"rows": rows, "gain": round(best / rows[-1]["cost"], 3)}


def _row(name: str, report: dict[str, Any], cost: int) -> dict[str, Any]:
    lost = 100 * (report["accuracy_float"] - report["accuracy_integer"])
    return {
        "methods": name, "cost": cost, "lost_points": round(lost, 2),
        "networks_measured": report.get("networks_measured"), "seconds": report["seconds"],
    }  # fmt: skip


def composition(model: str, data: str) -> dict[str, Any]:
    """Return losses and MACs of fixed amounts, alone and together."""
    report, network = searched.compress(model, data, START, budget=None, objective="macs")
    layer = [one.name for one in network.layers if isinstance(one, (Conv2d, Dense))][-2]
    singles = {
        "lower-kernel:loss=0.02": ("lower-kernel:loss=0.02", "dyadic:Q16"),
        "dyadic:P7": ("dyadic:P7",),
        f"ternary:layers={layer}": (f"ternary:filter,layers={layer}", "dyadic:Q16"),
    }
    together = ("lower-kernel:loss=0.02", f"ternary:filter,layers={layer}", "dyadic:P7")
    start = report["accuracy_integer"], total(network, Objective.MACS)
    rows = []
    for name, methods in {**singles, "together": together}.items():
        report, network = searched.compress(model, data, methods, budget=None, objective="macs")
        rows.append({
            "methods": name,
            "lost_points": round(100 * (start[0] - report["accuracy_integer"]), 2),
            "macs_left": round(total(network, Objective.MACS) / start[1], 4),
        })  # fmt: skip
    product = 1.0
    for one in rows[:-1]:
        product *= one["macs_left"]
    predicted = {
        "methods": "predicted", "macs_left": round(product, 4),
        "lost_points": round(sum(one["lost_points"] for one in rows[:-1]), 2),
    }  # fmt: skip
    return {"rows": [*rows, {key: predicted[key] for key in rows[0]}]}


def main() -> None:
    """Print both tables for each network."""
    parser = searched.arguments("Methods together against each alone under one budget.")
    parser.add_argument(
        "--objective", choices=[one.value for one in Objective], default="adders"
    )
    parser.add_argument(
        "--only", nargs="*", help="of the first table these rows alone, kept in --out for a later "
        "run; several may share it",
    )
    options = parser.parse_args()
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        kept = searched.kept(options, Path(folder))
        for model, data in searched.pairs_of(parser, options.pairs, Path(folder)):
            found = under_budget(model, data, options, kept)
            if options.only:
                continue
            made = composition(model, data)
            title = f"{Path(model).stem} on {data.partition(':')[0]}"
            searched.show(f"{title}: {options.objective} at {options.budget:g} points",
                          found["rows"])
            print(f"together {found['gain']} times cheaper than the best method alone\n")
            searched.show(f"{title}: fixed amounts, alone and together", made["rows"])
            networks.append({"network": title, "budget": found, "composition": made})
    searched.finish(options.json, {
        "objective": options.objective, "budget": options.budget, "finetune": options.finetune,
        "networks": networks,
    })  # fmt: skip


if __name__ == "__main__":
    main()
