"""A space file, read and checked: TOML that says which choices to try.

    model = "m.safetensors"                 MODEL and DATA of `hwgen compress`; files are looked for
    data = "digits"                         from the folder of the space file
    methods = ["dyadic:P9", ["lower-kernel", "dyadic:P5"]]
    budgets = ["none", 1.0]
    engines = ["stream", "nfu:tn=8"]
    targets = ["ecp5-25"]
    seeds = [0, 1]
    until = "synth"

    [[part]]                                the same keys again, each in place of that above; the
    until = "rtl"                           points are those of all parts

The points are the product of the five lists. What no stage reads is left out of it: without ``rtl``
there is no engine, without ``synth`` (or an engine that fits) no target.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.sweep.engines import Engine, parse_engine
from hwgen.sweep.points import STAGES, Point, Source, Until, distinct

MOST_BYTES = 1 << 20          # of a space file
MOST_POINTS = 100_000
MOST_SEED = (1 << 31) - 1
LISTS = ("methods", "budgets", "engines", "targets", "seeds")
SCALARS = ("model", "data", "until", "objective", "finetune", "act_bits", "mean", "std", "minutes")
DATA_KINDS = ("mnist", "cifar10", "faces", "npz", "images")
OBJECTIVES = ("adders", "luts", "cycles", "macs")

CheckMethods = Callable[[Sequence[str], bool], None]


@dataclass(frozen=True)
class Space:
    """A space file's points.

    Parameters
    ----------
    path : Path
    points : tuple of Point
    minutes : float or None
        A stage that takes longer is stopped and counts as failed.
    """

    path: Path
    points: tuple[Point, ...]
    minutes: float | None

    @property
    def folder(self) -> Path:
        """Where every command runs."""
        return self.path.parent


def read_space(path: Path, *, check_methods: CheckMethods, targets: Sequence[str],
               placed: Sequence[str]) -> Space:
    """Read and check a space file.

    Parameters
    ----------
    path : Path
    check_methods : callable
        ``check_methods(methods, searched)`` raises HwgenError for what ``--method`` does not take.
    targets, placed : sequence of str
        The names that ``--target`` takes, and those of them that have place and route.

    Raises: HwgenError, one line, that names the file and the key.
    """
    path = Path(path)
    table = _read_toml(path)
    parts = table.pop("part", [])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise HwgenError(f"{path}: part: tables [[part]] needed, not {_shown(parts)}")
    try:
        _known(table)
        points: list[Point] = []
        for part in parts or [{}]:
            _known(part)
            if "minutes" in part:
                raise HwgenError("minutes: needed above all parts, not in one")
            reader = _Part({**table, **part}, path.resolve().parent, check_methods, targets, placed)
            points += itertools.islice(reader.points(), MOST_POINTS + 1)
            if len(points) > MOST_POINTS:
                raise HwgenError(f"At most {MOST_POINTS:,} points needed, there are more")
        minutes = table.get("minutes")
        if minutes is not None and not (_is_number(minutes) and minutes > 0):
            raise HwgenError(f"minutes: a number above 0 needed, not {_shown(minutes)}")
    except HwgenError as error:
        raise HwgenError(f"{path}: {error}") from error
    return Space(path.resolve(), distinct(points), minutes)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if len(raw) > MOST_BYTES:
            raise HwgenError(f"{path}: at most {MOST_BYTES} bytes needed, not {len(raw)}")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise HwgenError(f"Cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise HwgenError(f"{path}: TOML needed: {error}") from error


def _known(table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in (*LISTS, *SCALARS):
            raise HwgenError(f"{_shown(key)} is no key; {', '.join((*SCALARS, *LISTS))} and part "
                             "are")


def _shown(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 60 else words[:59] + "…"


def _is_number(value: object) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and math.isfinite(value))


class _Part:
    """The tables of one part; each method reads and checks a key."""

    def __init__(self, table: Mapping[str, Any], folder: Path, check_methods: CheckMethods,
                 targets: Sequence[str], placed: Sequence[str]) -> None:
        self._table, self._folder, self._check = table, folder, check_methods
        self._targets, self._placed = targets, placed

    def points(self) -> Iterator[Point]:
        until = self._until()
        methods, budgets, seeds = self._methods(), self._budgets(), self._seeds()
        for chosen, budget in itertools.product(methods, budgets):
            self._check(chosen, budget is not None)
        source = self._source()
        pairs = self._hardware(until)
        for chosen, budget, seed, (engine, target) in itertools.product(
                methods, budgets, seeds, pairs):
            yield Point(source, chosen, budget, seed, engine, target, until)

    def _list(self, key: str, default: list[Any]) -> list[Any]:
        value = self._table.get(key, default)
        if not isinstance(value, list) or not value and key in self._table:
            raise HwgenError(f"{key}: a list with at least one value needed, not {_shown(value)}")
        return value

    def _text(self, key: str, default: str | None = None) -> str:
        value = self._table.get(key, default)
        if not isinstance(value, str) or not value or "\n" in value or "\0" in value:
            raise HwgenError(f"{key}: a text needed, " +
                             ("there is none" if value is None else f"not {_shown(value)}"))
        return value

    def _until(self) -> Until:
        text = self._text("until", Until.SYNTH.value)
        if text not in STAGES:
            raise HwgenError(f"until: {', '.join(STAGES)} needed, not {_shown(text)}")
        return Until(text)

    def _methods(self) -> list[tuple[str, ...]]:
        found = []
        for entry in self._list("methods", [[]]):
            texts = [entry] if isinstance(entry, str) else entry
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise HwgenError(f"methods: a text or a list of texts needed, not {_shown(entry)}")
            found.append(tuple(texts))
        return found

    def _budgets(self) -> list[float | None]:
        found: list[float | None] = []
        for entry in self._list("budgets", ["none"]):
            if entry == "none":
                found.append(None)
            elif _is_number(entry) and entry >= 0:
                found.append(float(entry))
            else:
                raise HwgenError(f"budgets: points of 0 or more, or 'none', needed, not "
                                 f"{_shown(entry)}")
        return found

    def _seeds(self) -> list[int]:
        for entry in (seeds := self._list("seeds", [0])):
            if type(entry) is not int or not 0 <= entry <= MOST_SEED:
                raise HwgenError(f"seeds: whole numbers from 0 to {MOST_SEED} needed, not "
                                 f"{_shown(entry)}")
        return seeds

    def _hardware(self, until: Until) -> list[tuple[Engine | None, str | None]]:
        """Return the pairs of engine and target that the stages read."""
        engines = []
        for entry in self._list("engines", ["stream"]):
            if not isinstance(entry, str):
                raise HwgenError(f"engines: texts needed, not {_shown(entry)}")
            engines.append(parse_engine(entry))
        targets = self._list("targets", [])
        for target in targets:
            if target not in self._targets:
                raise HwgenError(f"targets: of {', '.join(self._targets)} needed, not "
                                 f"{_shown(target)}")
        synthesised = until in (Until.SYNTH, Until.PNR)
        if until is Until.COMPRESS:
            return [(None, None)]
        if not targets and (synthesised or any(engine.fits for engine in engines)):
            raise HwgenError("targets: at least one needed, for "
                             + (f"until = {until.value!r}" if synthesised else "stream:fit"))
        lacking = [target for target in targets if target not in self._placed]
        if until is Until.PNR and lacking:
            raise HwgenError(f"targets: one with place and route needed for until = 'pnr' "
                             f"({', '.join(self._placed)}), not {lacking[0]!r}")
        return [(engine, target) for engine in engines
                for target in (targets if synthesised or engine.fits else (None,))]

    def _source(self) -> Source:
        model, data = self._text("model"), self._text("data")
        options: list[str] = []
        if "objective" in self._table:
            if self._table["objective"] not in OBJECTIVES:
                raise HwgenError(f"objective: {', '.join(OBJECTIVES)} needed, not "
                                 f"{_shown(self._table['objective'])}")
            options += ["--objective", self._table["objective"]]
        for key, least, most in (("finetune", 0, 10_000), ("act_bits", 2, 16)):
            value = self._table.get(key)
            if value is None:
                continue
            if type(value) is not int or not least <= value <= most:
                raise HwgenError(f"{key}: a whole number from {least} to {most} needed, not "
                                 f"{_shown(value)}")
            options += ["--" + key.replace("_", "-"), str(value)]
        for key in ("mean", "std"):
            if key in self._table:
                options.append(f"--{key}={self._text(key)}")
        return Source(model, data, self._contents(model, data), tuple(options))

    def _contents(self, model: str, data: str) -> str:
        """Return the hash of what model and data name."""
        form, _, rest = model.partition(":")
        sha = hashlib.sha256()
        _hash(sha, self._folder, "model", rest.partition(":")[0] if form == "python" else form)
        kind, _, place = data.partition(":")
        if data != "digits":
            if kind not in DATA_KINDS or not place:
                raise HwgenError(f"data: digits, {', '.join(f'{name}:…' for name in DATA_KINDS)} "
                                 f"needed, not {_shown(data)}")
            _hash(sha, self._folder, "data", place)
        return sha.hexdigest()


def _hash(sha: Any, folder: Path, key: str, name: str) -> None:
    """Take in a file by its bytes, a folder by the names and sizes of its files."""
    path = folder / name
    try:
        if path.is_dir():
            for file in sorted(found for found in path.rglob("*") if found.is_file()):
                sha.update(f"{file.relative_to(path)}|{file.stat().st_size}\n".encode())
        else:
            with open(path, "rb") as file_:
                sha.update(hashlib.file_digest(file_, "sha256").digest())
    except OSError as error:
        raise HwgenError(f"{key}: {path}: {error.strerror or error}") from error
