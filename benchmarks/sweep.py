"""Sweeps of the digits network: 200 points on two workers, one worker against two, two hosts.

``python -m benchmarks.sweep [--parts points scaling hosts] [--rounds N] [--out DIR] [--json FILE]``

* points: 200 points, all of them to Verilog and its estimate, some synthesised: wall time, and the
  processor time of everything that ran. Stopped, it goes on.
* scaling: 16 points to Verilog from one compressed network that is there, each stage one thread;
  one worker and two in turn, medians. Target: 1.8 times. The start of the cluster is in the time.
* hosts: two workers on addresses of their own, each in a network namespace (127.0.0.1 and
  127.0.0.2 where namespaces are refused), and which of them did what.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.files import make_folder, read_json, write_json

HWGEN = (sys.executable, "-m", "hwgen.commands")
PORT = 18786
HEAD = 'model = "digits.safetensors"\ndata = "digits"\n'
POINTS = """
methods = ["dyadic:T3", "dyadic:P5", "dyadic:P7", "dyadic:P9", "dyadic:Q4", "dyadic:P9,digits=1",
  "dyadic:P5,kernel", "ternary", ["lower-kernel", "dyadic:P9"], ["linear-features", "dyadic:P9"]]
until = "rtl"

[[part]]
engines = ["stream", "stream:cycles-per-pixel=2", "stream:cycles-per-pixel=4",
  "stream:cycles-per-pixel=8", "stream:cycles-per-pixel=16", "nfu:tn=4", "nfu:tn=4,code=narrow",
  "nfu:tn=4,code=base", "nfu:tn=8", "nfu:tn=8,code=narrow", "nfu:tn=8,code=base", "nfu:tn=16",
  "nfu:tn=4,memory=axi", "nfu:tn=8,memory=axi", "nfu:tn=4,code=narrow,memory=axi",
  "nfu:tn=8,code=narrow,memory=axi", "nfu:tn=8,code=base,memory=axi"]

[[part]]
engines = ["stream:fit"]
targets = ["ecp5-25", "up5k"]

[[part]]
engines = ["stream:cycles-per-pixel=16"]
targets = ["ecp5-25"]
until = "synth"
"""
SIXTEEN = """
methods = ["dyadic:P5"]
engines = ["stream", "stream:cycles-per-pixel=2", "stream:cycles-per-pixel=4",
  "stream:cycles-per-pixel=8", "nfu:tn=4", "nfu:tn=4,code=narrow", "nfu:tn=4,code=base",
  "nfu:tn=8", "nfu:tn=8,code=narrow", "nfu:tn=8,code=base", "nfu:tn=4,memory=axi",
  "nfu:tn=4,code=narrow,memory=axi", "nfu:tn=4,code=base,memory=axi", "nfu:tn=8,memory=axi",
  "nfu:tn=8,code=narrow,memory=axi", "nfu:tn=8,code=base,memory=axi"]
until = "rtl"
"""


def main() -> None:
    """Run the parts that are asked for; print the JSON, or write it to a file."""
    parser = argparse.ArgumentParser(description="Sweeps of the digits network.")
    parts: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
        "points": points, "scaling": scaling, "hosts": hosts}
    parser.add_argument("--parts", nargs="*", choices=list(parts), default=list(parts))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/bench/sweep"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = make_folder(options.out).resolve()
    if not (folder / "digits.safetensors").is_file():
        hwgen("train", "digits", "--data", "digits", "--out", folder / "digits.safetensors")
    found = read_json(options.json) if options.json and options.json.is_file() else {}
    for part in options.parts:
        load = os.getloadavg()[1]
        found[part] = parts[part](folder, options) | {
            "cores": len(os.sched_getaffinity(0)), "load_before": round(load, 1),
            "load_after": round(os.getloadavg()[1], 1)}
        print(f"{part}: {json.dumps(found[part])}", file=sys.stderr, flush=True)
    if options.json is not None:
        write_json(options.json, found)
    else:
        print(json.dumps(found))


def hwgen(*words: object, good: tuple[int, ...] = (0,)) -> None:
    """Run a command. Raises: HwgenError if it ends otherwise than it may."""
    code = subprocess.run([*HWGEN, *map(str, words)], check=False).returncode
    if code not in good:
        raise HwgenError(f"hwgen {' '.join(map(str, words))}: exit code {code}")


def write_space(folder: Path, name: str, text: str) -> Path:
    """Write a space file, if it is not there."""
    path = folder / f"{name}.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def points(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two hundred points on two workers."""
    space = write_space(folder, "points", POINTS)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    hwgen("sweep", space, "--workers", 2, good=(0, 1))
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = space.with_suffix(".sweep")
    made = read_json(out / "sweep.json")
    spent = sum(getattr(after, key) - getattr(before, key) for key in ("ru_utime", "ru_stime"))
    failed = Counter(row[0] for row in rows(out, "error") if row[0])
    return {**{key: made[key] for key in ("points", "done", "failed", "kept", "stages")},
            "not_dominated": len(made["front"]), "errors": dict(failed),
            "seconds": round(seconds, 1), "cpu_seconds": round(spent, 1)}


def rows(out: Path, columns: str) -> list[tuple[Any, ...]]:
    """Return columns of all points of a sweep's folder."""
    base = sqlite3.connect(out / "results.sqlite")
    try:
        return base.execute(f"SELECT {columns} FROM points").fetchall()
    finally:
        base.close()


def ready(folder: Path) -> Path:
    """Return a sweep's folder in which the common network of the 16 points is there."""
    out = folder / "sixteen.ready"
    first = write_space(folder, "first", SIXTEEN.replace('"rtl"', '"compress"'))
    hwgen("sweep", first, "--workers", 1, "--out", out)
    return out


def scaling(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Sixteen points, one worker and two in turn."""
    space, start_from = write_space(folder, "sixteen", SIXTEEN), ready(folder)
    spent: dict[int, list[float]] = {1: [], 2: []}
    for number in range(options.rounds):
        for workers in ((1, 2), (2, 1))[number % 2]:
            out = folder / "sixteen.sweep"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(start_from, out)
            start = time.monotonic()
            hwgen("sweep", space, "--workers", workers, "--out", out)
            spent[workers].append(round(time.monotonic() - start, 2))
    medians = {workers: statistics.median(found) for workers, found in spent.items()}
    return {"points": 16, "rounds": options.rounds, "seconds_1": spent[1], "seconds_2": spent[2],
            "median_1": medians[1], "median_2": medians[2],
            "ratio": round(medians[1] / medians[2], 2),
            "ratios": [round(one / two, 2) for one, two in zip(spent[1], spent[2], strict=True)]}


# ---------------------------------------------------------------------------------------------
# Two hosts


def hosts(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The sixteen points on two workers with an address each."""
    space, out = write_space(folder, "sixteen", SIXTEEN), folder / "hosts.sweep"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ready(folder), out)
    with ExitStack() as stack:
        try:
            address, places = stack.enter_context(namespaces())
            kind = "network namespaces"
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"namespaces refused: {error}", file=sys.stderr)
            address, places, kind = "127.0.0.1", {"127.0.0.1": [], "127.0.0.2": []}, "loopback"
        dask = [sys.executable, "-m", "distributed.cli"]
        stack.enter_context(running([
            *dask[:2], "distributed.cli.dask_scheduler", "--host", address, "--port", str(PORT),
            "--no-dashboard"]))
        for host, inside in places.items():
            stack.enter_context(running([
                *inside, *dask[:2], "distributed.cli.dask_worker", f"tcp://{address}:{PORT}",
                "--host", host, "--nthreads", "1", "--nworkers", "1", "--no-dashboard",
                "--local-directory", str(folder / f"scratch-{host}"), "--death-timeout", "60"]))
        hwgen("sweep", space, "--out", out, "--scheduler", f"tcp://{address}:{PORT}")
    did = Counter(workers.split()[-1].rpartition(":")[0].removeprefix("tcp://")
                  for workers, until in rows(out, "workers, until") if until == "rtl")
    if set(did) != set(places):
        raise HwgenError(f"Points of both {' and '.join(places)} needed, not {dict(did)}")
    return {"kind": kind, "scheduler": address, "points_by_worker": dict(did),
            "seconds": read_json(out / "sweep.json")["seconds"]}


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A program for the time of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def namespaces() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Two network namespaces on a bridge of this machine; root only.

    Gives the bridge's address, and for each address behind it the words that run a command there.
    Raises: OSError or CalledProcessError where they are refused; nothing is left then.
    """
    bridge, net = f"hwg{os.getpid() % 100000}", "10.213.77"
    with ExitStack() as stack:
        def ip(*words: str, undo: tuple[str, ...] = ()) -> None:
            subprocess.run(["ip", *words], check=True, capture_output=True)
            if undo:
                stack.callback(subprocess.run, ["ip", *undo], check=False, capture_output=True)

        ip("link", "add", bridge, "type", "bridge", undo=("link", "del", bridge))
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        places = {}
        for number in (2, 3):
            name = f"{bridge}-{number}"
            outer, inner = f"{bridge}o{number}", f"{bridge}i{number}"
            ip("netns", "add", name, undo=("netns", "del", name))
            ip("link", "add", outer, "type", "veth", "peer", "name", inner,
               undo=("link", "del", outer))
            ip("link", "set", outer, "master", bridge, "up")
            ip("link", "set", inner, "netns", name)
            inside = ["netns", "exec", name, "ip"]
            ip(*inside, "addr", "add", f"{net}.{number}/24", "dev", inner)
            ip(*inside, "link", "set", inner, "up")
            ip(*inside, "link", "set", "lo", "up")
            places[f"{net}.{number}"] = ["ip", "netns", "exec", name]
        yield f"{net}.1", places


if __name__ == "__main__":
    main()
