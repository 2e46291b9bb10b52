"""A generated folder as the checks see it: net.npz, top.v, ports.json and plan.json, which must
belong together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.netfile import load
from hwgen.network import Network
from hwgen.sim.ports import Field, Ports, load_ports

SCORE = re.compile(r"score_(\d{1,6})")
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, eq=False)
class Design:
    """One network in hardware: what it should compute, and the ports it does it on."""

    network: Network
    ports: Ports


@dataclass(frozen=True, eq=False)
class Folder:
    """What ``hwgen rtl`` wrote, read and found to be of one network."""

    path: Path
    design: Design

    @property
    def verilog(self) -> Path:
        """The Verilog file."""
        return self.path / "top.v"


def verilog_digest(path: Path) -> str:
    """Return the digest that the comments at the head of a Verilog file give.

    Raises: HwgenError if the file cannot be read or its head holds no digest.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip() and not line.startswith(("//", "`timescale")):
                    break
                if found := DIGEST.search(line):
                    return found.group(0)
    except OSError as error:
        raise HwgenError(f"Cannot read {path}: {error.strerror or error}") from error
    raise HwgenError(f"{path}: a digest in the comments at its head needed, there is none")


def load_folder(directory: Path) -> Folder:
    """Read a folder that ``hwgen rtl`` wrote, and check that its files belong together.

    Raises: HwgenError naming the file that is missing, broken or of another network.
    """
    path = Path(directory)
    if not path.is_dir():
        raise HwgenError(f"{path}: a folder that `hwgen rtl` wrote is needed, there is none")
    network = load(path / "net.npz")
    ports = load_ports(path / "ports.json")
    plan = read_json(path / "plan.json")
    digests = {
        "top.v": verilog_digest(path / "top.v"),
        "ports.json": ports.digest,
        "plan.json": plan.get("digest") if isinstance(plan, dict) else None,
    }
    for name, digest in digests.items():
        if digest != network.digest:
            raise HwgenError(
                f"{path / name}: digest {network.digest[:12]} of net.npz needed, not "
                f"{str(digest)[:12]}: write the folder again with `hwgen rtl`"
            )
    return Folder(path, check_ports(Design(network, ports), str(path / "ports.json")))


def check_ports(design: Design, where: str = "ports.json") -> Design:
    """Return the design after checking that its ports fit its network.

    Fields that have a name only (``class``, ``score_3``) get the layer and channel that it stands
    for.
    Raises: HwgenError naming the port or tap that does not.
    """
    network = design.network
    taps = tuple(
        replace(tap, fields=tuple(_placed(network, field) for field in tap.fields))
        for tap in design.ports.taps
    )
    output = replace(
        design.ports.output,
        fields=tuple(_placed(network, field) for field in design.ports.output.fields),
    )
    ports = replace(design.ports, taps=taps, output=output)
    channels, height, width = network.tensors[network.input.name].shape
    wide = ports.input.pixels
    size = channels * wide, height * width // wide
    if (len(ports.input.fields), ports.input.beats) != size or width % wide:
        raise HwgenError(
            f"{where}.input: {size[0]} fields and {size[1]} beats of the "
            f"{channels}x{height}x{width} image needed, not {len(ports.input.fields)} and "
            f"{ports.input.beats}"
        )
    before: set[str] = set()
    for tap in ports.taps:
        if tap.layer not in network.by_name:
            raise HwgenError(f"{where}.taps: layers of the network needed, not {tap.layer!r}")
        if tap.alias and tap.alias not in before:
            raise HwgenError(
                f"{where}.taps, {tap.layer}: an earlier tap as alias needed, not {tap.alias!r}"
            )
        before.add(tap.layer)
        if tap.alias:
            continue
        depth, height, width = network.tensors[tap.layer].shape
        if tap.beats * tap.pixels != height * width * tap.folds or width % tap.pixels:
            raise HwgenError(
                f"{where}.taps, {tap.layer}: {height}x{width} pixels in {tap.folds} beats each "
                f"needed, not {tap.beats} beats of {tap.pixels}"
            )
        named = any(field.layer for field in tap.fields)
        if not named and tap.lanes * tap.folds < depth * tap.pixels or len(tap.fields) < tap.lanes:
            raise HwgenError(
                f"{where}.taps, {tap.layer}: fields for {depth} channels needed, not "
                f"{len(tap.fields)} in {tap.folds} beats"
            )
    for n, field in enumerate(ports.output.fields):
        tensor = network.tensors.get(field.layer)
        if tensor is None or field.channel >= tensor.channels:
            raise HwgenError(
                f"{where}.output.fields[{n}]: a channel of a layer of the network needed, not "
                f"channel {field.channel} of {field.layer!r}"
            )
        if tensor.height * tensor.width != ports.output.beats * ports.output.pixels:
            raise HwgenError(
                f"{where}.output.fields[{n}]: one beat a pixel needed, {field.layer} has "
                f"{tensor.height * tensor.width} pixels and an image {ports.output.beats} beats"
            )
    return Design(network, ports)


def _placed(network: Network, field: Field) -> Field:
    """Return a field with the layer and channel that its name stands for, if it has nothing but a
    name.
    """
    if not field.layer and field.name == "class":
        return replace(field, layer=network.output.name, channel=0)
    if not field.layer and (found := SCORE.fullmatch(field.name)):
        return replace(field, layer=network.scores.name, channel=int(found[1]))
    return field
