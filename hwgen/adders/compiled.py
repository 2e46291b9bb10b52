"""The search in C++ (``native/``): compiled when it is first needed, loaded over a C interface.

The library is kept in the user's cache folder under a name that is the digest of the sources, the
flags and the compiler's version, so a change of any of them compiles again. The folder has to be
the user's own: a library that somebody else could have put there is not loaded. Without a compiler
there is no library; callers then do with less, and ``missing`` says why.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

SOURCES = Path(__file__).parent / "native"
# No -ffast-math and no fused multiply-add: every machine must give the same bits.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden")
COMPILE_SECONDS = 300

Int32Array = npt.NDArray[np.int32]


class _Missing(Exception):
    """There is no library; the message says why."""


class NativeSearch:
    """One search over rows of terms; see ``native/search.cpp`` for what the arguments mean.

    Parameters
    ----------
    inputs, outputs : int
    kernel : (rows, columns)
        Delays stay below; (1, 1) without delays.
    lo, hi : sequences of numbers
        Range of each input.
    bits : bool
        Make adder bits few instead of adders.
    max_depth : int or None
    seed : int

    Raises: RuntimeError if there is no library (see ``missing``).
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: tuple[int, int],
                 lo: Sequence[float], hi: Sequence[float], bits: bool, max_depth: int | None,
                 seed: int) -> None:
        library = _library()
        if isinstance(library, str):
            raise RuntimeError(library)
        self._library = library
        low, high = np.array(lo, np.float64), np.array(hi, np.float64)
        self._handle: int | None = library.hwgen_new(
            inputs, outputs, *kernel, int(bits), -1 if max_depth is None else max_depth,
            low.ctypes.data, high.ctypes.data, seed)

    def start(self, rows: Int32Array, *, close: bool = True) -> None:
        """Begin with these rows; with ``close`` patterns are eliminated greedily at once."""
        data = np.ascontiguousarray(rows, dtype=np.int32)
        self._library.hwgen_start(self._handle, data.ctypes.data, int(close))

    def run(self, steps: int, begin: float, end: float, *, hot: float, cold: float) -> float:
        """Search on: the temperature goes from hot to cold as the progress goes from 0 to 1.

        Returns: the cost of the best rows so far.
        """
        cost: float = self._library.hwgen_run(self._handle, steps, begin, end, hot, cold)
        return cost

    def best(self) -> Int32Array:
        """Return the best rows so far."""
        found = np.zeros(self._library.hwgen_size(self._handle), dtype=np.int32)
        self._library.hwgen_best(self._handle, found.ctypes.data)
        return found

    def close(self) -> None:
        """Free the memory."""
        if self._handle is not None:
            self._library.hwgen_free(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def missing() -> str | None:
    """Return why there is no compiled search, or None if there is one (compiling it if need be)."""
    library = _library()
    return library if isinstance(library, str) else None


@functools.cache
def _library() -> ctypes.CDLL | str:
    try:
        return _declared(ctypes.CDLL(str(_compiled())))
    except _Missing as reason:
        return str(reason)
    except OSError as error:
        return f"the compiled search cannot be loaded: {error}"


def _compiled() -> Path:
    """Return the library's path, after compiling it if it is not there."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise _Missing("g++ was not found: install a C++ compiler (package g++)")
    folder = _private_folder()
    target = folder / f"search-{_digest(compiler)}.so"
    if target.is_file() and _is_ours(target):
        return target
    temporary = folder / f".{secrets.token_hex(8)}.so"
    command = [compiler, *FLAGS, str(SOURCES / "search.cpp"), "-o", str(temporary)]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                              check=False, stdin=subprocess.DEVNULL, timeout=COMPILE_SECONDS)
        if done.returncode:
            first = next(iter(done.stderr.splitlines()), f"exit code {done.returncode}")
            raise _Missing(f"g++ could not compile the search: {first}")
        os.replace(temporary, target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Missing(f"g++ could not compile the search: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _digest(compiler: str) -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False,
                             stdin=subprocess.DEVNULL).stdout
    digest.update(version)
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _private_folder() -> Path:
    from platformdirs import user_cache_dir

    folder = Path(user_cache_dir("hwgen", appauthor=False)) / "native"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _Missing(f"{folder} cannot be made: {error.strerror or error}") from error
    if not _is_ours(folder):
        raise _Missing(f"{folder} must belong to the user, and nobody else may write to it")
    return folder


def _is_ours(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, i32, i64, f64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_double
    for name, result, arguments in (
        ("new", pointer, [i32] * 6 + [pointer, pointer, ctypes.c_uint64]),
        ("start", None, [pointer, pointer, i32]),
        ("run", f64, [pointer, i64, f64, f64, f64, f64]),
        ("size", i64, [pointer]),
        ("best", None, [pointer, pointer]),
        ("free", None, [pointer]),
    ):
        function = getattr(library, f"hwgen_{name}")
        function.restype, function.argtypes = result, arguments
    return library
