"""A point of a space, its stages, and the command line of each stage.

    compress ──► rtl ──► synth, or pnr (the same verb with --pnr)

A stage is known by a key made from everything that decides its result: its arguments, the contents
of the model and of the data for the first, the digest of the network for the second, the key before
it for the last. So what several points have in common is done once, also where two methods or seeds
end in the same network.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import hwgen
from hwgen.sweep.engines import Engine


class Until(Enum):
    """The last stage of a point."""

    COMPRESS = "compress"
    RTL = "rtl"
    SYNTH = "synth"
    PNR = "pnr"


STAGES = tuple(until.value for until in Until)


@dataclass(frozen=True)
class Source:
    """What all points of a part start from, and the settings that do not vary in it.

    Parameters
    ----------
    model, data : str
        MODEL and DATA of ``hwgen compress``.
    contents : str
        Hash of the files that the two name.
    options : tuple of str
        More arguments of ``hwgen compress``.
    """

    model: str
    data: str
    contents: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """One set of choices; ``engine`` and ``target`` are None where no stage reads them."""

    source: Source
    methods: tuple[str, ...]
    budget: float | None
    seed: int
    engine: Engine | None
    target: str | None
    until: Until

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in order."""
        if self.until is Until.PNR:
            return "compress", "rtl", "pnr"
        return STAGES[: STAGES.index(self.until.value) + 1]

    @property
    def key(self) -> str:
        """What it is known by in the store."""
        engine = None if self.engine is None else self.engine.arguments(self.target)
        return key_of("point", self.compress_words(), self.source.contents, engine, self.target,
                      self.until.value)

    @property
    def method(self) -> str:
        """The methods in a line."""
        return " + ".join(self.methods) or ("any" if self.budget is not None else "default")

    @property
    def name(self) -> str:
        """The point in a line."""
        budget = "" if self.budget is None else f"{self.budget:g} points"
        parts = (self.method, budget, self.engine.text if self.engine else "", self.target or "",
                 f"seed {self.seed}")
        return " · ".join(part for part in parts if part)

    def compress_words(self) -> tuple[str, ...]:
        """Return the arguments of ``hwgen compress``; ``{out}`` stands for the folder."""
        methods = [word for method in self.methods for word in ("--method", method)]
        budget = [] if self.budget is None else ["--budget", f"{self.budget:g}"]
        return ("compress", self.source.model, "--data", self.source.data, *methods, *budget,
                *self.source.options, "--seed", str(self.seed), "--out", "{out}/net.npz")

    def words(self, stage: str) -> tuple[str, ...]:
        """Return the command line of a stage: ``{source}`` is the folder of the stage before it,
        ``{out}`` its own; the last stage works in a copy of its source.
        """
        if stage == "compress":
            return self.compress_words()
        assert self.engine is not None
        if stage == "rtl":
            return ("rtl", "{source}/net.npz", *self.engine.arguments(self.target), "--out",
                    "{out}")
        assert self.target is not None
        place = ("--pnr", "--seed", str(self.seed)) if stage == "pnr" else ()
        return "synth", "{out}", "--target", self.target, *place

    def stage_key(self, stage: str, before: str) -> str:
        """Return the key of a stage.

        Parameters: before, of the first stage nothing, of the second the network's digest, of the
        third the key of the second.
        """
        contents = self.source.contents if stage == "compress" else before
        return f"{stage}-{key_of(self.words(stage), contents)}"

    def command(self) -> str:
        """Return one line for a shell that makes the point again, in a folder ``point``."""
        lines = (
            shlex.join(["hwgen", *(word.replace("{source}", "point").replace("{out}", "point")
                                   for word in self.words(stage))])
            for stage in self.stages
        )
        return "export OMP_NUM_THREADS=1; " + " && ".join(lines)


def key_of(*parts: object) -> str:
    """Return a short hash of anything that is JSON, and of the program's version."""
    text = json.dumps([hwgen.__version__, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def distinct(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points, each once, in the order in which they came."""
    return tuple({point.key: point for point in points}.values())
