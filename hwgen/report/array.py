"""What an NFU's array does for each layer that it computes."""

from __future__ import annotations

from html import escape

from hwgen.report.material import Material
from hwgen.report.text import number, percent, table


def is_nfu(material: Material) -> bool:
    """Tell whether the design is an NFU."""
    return bool(material.value("plan", "engine") == "nfu")


def array(material: Material) -> str:
    """Return the section of the array, nothing for another engine."""
    if not is_nfu(material):
        return ""
    plan, verify = material.files["plan"], material.files.get("verify", {})
    rows = []
    for layer in material.network.layers:
        found = material.of_layer("plan", layer.name)
        if found:
            rows.append((escape(layer.name), number(found.get("steps")), number(found.get("tiles")),
                         number(found.get("interval")), number(found.get("array_cycles")),
                         percent(found.get("lane_use"), 1)))
    facts = [
        *_turns(material),
        ("cycles an image, estimated", number(plan.get("interval"))),
        ("cycles an image, counted by the hardware", number(verify.get("cycles_per_image"))),
        ("of them the array computes, estimated", number(verify.get("compute_cycles_estimated"))),
        ("of them the array computes, counted", number(verify.get("compute_cycles"))),
        ("instructions of the program", number(plan.get("instructions"))),
        ("bytes of memory", number(plan.get("memory_bytes"))),
        ("bytes read an image", number(plan.get("read_bytes"))),
        ("bytes written an image", number(plan.get("written_bytes"))),
    ]
    return (
        '<section><h2>Array</h2><p class="soft">The layers that the array computes, with those '
        "between them done on the way. Steps are the taps of a pixel, digits and input tiles "
        "included, of all tiles of filters; lane use is the share of the array's lanes that hold a "
        "weight that is not zero while it computes.</p>"
        '<div class="figures lists"><div class="scroll">' + table(
            ("layer", "steps", "tiles", "cycles", "computing", "lane use"), rows)
        + f"</div><div>{table((), facts)}</div></div></section>"
    )


def _turns(material: Material) -> list[tuple[str, str]]:
    """Where several NFUs take images in turn, how many and what each of them takes."""
    cores = material.value("plan", "config", "cores")
    if cores in (None, 1):
        return []
    return [("NFUs that take images in turn", number(cores)),
            ("cycles from an image to its result", number(material.value("plan", "latency")))]
