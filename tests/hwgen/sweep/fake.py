"""A stand-in for the command line that takes no time: ``python fake.py PID VERB ...``.

Writes the JSON files that a sweep reads, with figures made from the arguments, and a line into
``runs.txt`` of the current folder for each run that began. ``delay.txt`` there: seconds that each
run takes. Methods ``refused`` and ``killed`` fail, ``murder`` kills the worker; T3 and P5 end in
the same network.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import zlib
from pathlib import Path

from hwgen.commands.child import die_with


def value(words: list[str], flag: str, default: str = "") -> str:
    """The word behind a flag."""
    return words[words.index(flag) + 1] if flag in words else default


def main() -> int:
    die_with(int(sys.argv[1]))
    verb, *words = sys.argv[2:]
    here = Path.cwd()
    with open(here / "runs.txt", "a", encoding="utf-8") as file:
        shown = " ".join(word for word in words if "/" not in word)
        file.write(f"{verb} {shown}\n")
    delay = here / "delay.txt"
    time.sleep(float(delay.read_text()) if delay.is_file() else 0.0)
    print(f"{verb}: a word of progress")
    method = value(words, "--method")
    if method == "refused":
        print("hwgen: no luck with this one", file=sys.stderr)
        return 2
    if method == "murder":
        os.kill(int(sys.argv[1]), signal.SIGKILL)
        time.sleep(60)
    if method == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    write(verb, words, method)
    return 0


def write(verb: str, words: list[str], method: str) -> None:
    if verb == "compress":
        network = {"T3": "P5"}.get(method, method)
        number = zlib.crc32(network.encode()) % 1000
        out = Path(value(words, "--out")).parent
        found = {"digest": f"{number:064x}", "accuracy_float": 0.99, "images": 100,
                 "accuracy_integer": number / 1000, "seed": int(value(words, "--seed")),
                 "layers": [{"adders": number, "digits": 2, "nonzeros": 3, "macs": 4}] * 2}
        (out / "net.npz").write_text(network)
        (out / "compress.json").write_text(json.dumps(found))
    elif verb == "rtl":
        source, out = Path(words[0]), Path(value(words, "--out"))
        network = source.read_text()
        stream = value(words, "--engine") == "stream"
        size = {"lut": 100 + len(network), "ff": 7, "bram": 1}
        found = {"interval": 81 if stream else 2000, "latency": 90,
                 **({"estimate": size} if stream else {})}
        (out / "net.npz").write_text(network)
        (out / "plan.json").write_text(json.dumps(found))
    else:
        out = Path(words[0])
        assert (out / "plan.json").is_file()
        found = {"lut": 200, "ff": 8, "bram": 2, "dsp": 0, "mul_cells": 0,
                 "fmax_mhz": 50.0 if "--pnr" in words else None}
        (out / "synth.json").write_text(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
