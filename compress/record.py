"""What a run leaves beside the network file: compress.json and before.npz."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import cost, netfile
from hwgen.compress.choices.plan import NONE
from hwgen.compress.lower_rules import linear_nodes
from hwgen.compress.stages.build import Built
from hwgen.files import write_atomic, write_json
from hwgen.layers import Conv2d, Dense
from hwgen.network import Network

# A layer with more digits is reported unshared: it is not built as one adder graph.
SHARED_DIGITS = 4000


def linear_layers(network: Network) -> list[Conv2d | Dense]:
    """Return the layers with weights, in the order that the float graph has them too."""
    return [layer for layer in network.layers if isinstance(layer, (Conv2d, Dense))]


def layer_entries(built: Built, *, kept: bool = False) -> list[dict[str, Any]]:
    """Return one entry a layer with weights, for compress.json.

    Parameters: built; kept, the model's own integers were taken as they are.

    ``error`` is the squared error of the weights over their squared norm; ``treatment`` and a key a
    method say what was done.
    """
    entries = []
    for layer, node, price in zip(
        linear_layers(built.network),
        linear_nodes(built.graph),
        cost.network_cost(built.network),
        strict=True,
    ):
        result = built.results[node.name]
        entries.append(
            {
                "name": layer.name,
                "error": result.relative_error,
                "nonzeros": price.nonzeros,
                "digits": price.digits,
                "adders": shared_adders(layer, price),
                "macs": price.macs,
                "treatment": list(NONE) if kept else built.treatments[node.name].words(),
                **built.supports[node.name].notes,
            }
        )
    return entries


def shared_adders(layer: Conv2d | Dense, price: cost.LayerCost) -> int:
    """Return the adders of a layer's shared graphs, one a group; unshared where it is too large."""
    if price.digits > SHARED_DIGITS:
        return price.adders
    from hwgen.adders import search

    groups = layer.groups if isinstance(layer, Conv2d) else 1
    total = int(np.count_nonzero(layer.bias))
    for part in np.split(layer.weight, groups):
        matrix = part.reshape(len(part), -1).T
        total += search.build(np.ascontiguousarray(matrix), input_lo=-128, input_hi=127).adders
    return total


def write(out: Path, built: Built, report: Mapping[str, Any]) -> None:
    """Write before.npz, the network file and compress.json, each whole; the report last."""
    before = {
        f"{layer.name}.{field}": np.asarray(getattr(node, field), np.float32)
        for layer, node in zip(
            linear_layers(built.network), linear_nodes(built.graph), strict=True
        )
        for field in ("weight", "bias")
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **before)
    write_atomic(out.with_name("before.npz"), buffer.getvalue())
    netfile.save(built.network, out)
    write_json(out.with_name("compress.json"), report)
