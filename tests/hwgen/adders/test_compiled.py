"""How the compiled search is made and kept; the compiler is a script that copies."""

from __future__ import annotations

import random
import stat
import subprocess
from pathlib import Path

import pytest

from hwgen.adders import compiled


@pytest.fixture
def library() -> Path:
    if (reason := compiled.missing()) is not None:
        pytest.skip(reason)
    found = compiled._library()
    assert not isinstance(found, str)
    return Path(found._name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache folder and a PATH that hold nothing yet."""
    compiled.missing()                    # the real library stays where it belongs
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def compiler(place: Path, text: str) -> None:
    path = place / "bin" / "g++"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def copying(place: Path, library: Path, version: str = "one") -> None:
    """A compiler that notes each call and hands out a library that is there."""
    compiler(place, f'if [ "$1" = --version ]; then echo {version}; exit; fi\n'
                    f'for last; do :; done\necho once >> {place}/calls\ncp {library} "$last"')


def calls(place: Path) -> int:
    return len((place / "calls").read_text().splitlines())


def test_compiled_once(place, library):
    copying(place, library)
    first = compiled._compiled()
    assert compiled._compiled() == first
    assert calls(place) == 1
    folder = first.parent
    assert folder == place / "cache" / "hwgen" / "native"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [first.name]


def test_another_compiler_another_library(place, library):
    copying(place, library)
    first = compiled._compiled()
    copying(place, library, version="two")
    assert compiled._compiled() != first
    assert calls(place) == 2


def test_compiler_that_fails(place):
    compiler(place, 'if [ "$1" = --version ]; then echo one; exit; fi\n'
                    "echo search.cpp:1: broken >&2; exit 1")
    assert (compiled._library.__wrapped__()
            == "g++ could not compile the search: search.cpp:1: broken")
    assert list((place / "cache" / "hwgen" / "native").iterdir()) == []


def test_no_compiler(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place / "bin"))
    assert (compiled._library.__wrapped__()
            == "g++ was not found: install a C++ compiler (package g++)")


def test_what_is_no_library(place):
    compiler(place, 'if [ "$1" = --version ]; then echo one; exit; fi\n'
                    'for last; do :; done\necho text > "$last"')
    assert compiled._library.__wrapped__().startswith("the compiled search cannot be loaded: ")


def test_folder_that_others_may_write(place, library):
    copying(place, library)
    folder = place / "cache" / "hwgen" / "native"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert compiled._library.__wrapped__() == (
        f"{folder} must belong to the user, and nobody else may write to it")


def test_library_that_others_may_write_is_made_again(place, library):
    copying(place, library)
    compiled._compiled().chmod(0o666)
    compiled._compiled()
    assert calls(place) == 2


KEYS = """
#include <cstdio>
#include <cstdlib>
#include "units.h"
using namespace hwgen;
int main(int, char** argv) {
    const Units units(std::atoi(argv[1]), std::atoi(argv[2]));
    std::vector<u64> values;
    for (u64 value; std::scanf("%lu", &value) == 1;) values.push_back(value);
    const std::vector<u64> given = values;
    const std::size_t count = values.size();
    values.resize((count + WIDE - 1) / WIDE * WIDE);
    units.keys(values.data(), count);
    for (std::size_t n = 0; n < count; n++)
        std::printf("%lu %lu\\n", values[n], units.key(given[n]));
}
"""


@pytest.mark.parametrize(("kernel", "exponent"), [((1, 1), 122), ((3, 5), 122 * 7 * 9)])
def test_keys_of_many_values(tmp_path, kernel, exponent):
    """Eight at a time or one by one, a key is the power that Python makes of the value."""
    if (reason := compiled.missing()) is not None:
        pytest.skip(reason)
    prime = (1 << 61) - 1
    rng = random.Random(0)
    values = [0, 1, 2, prime - 1, prime - 2, 1 << 60, (1 << 31) - 1, 1 << 31]
    values += [rng.randrange(prime) for _ in range(60)] + [prime - 1 - (1 << n) for n in range(61)]
    (tmp_path / "keys.cpp").write_text(KEYS)
    subprocess.run(["g++", "-std=c++17", "-O1", f"-I{compiled.SOURCES}", "keys.cpp", "-o", "keys"],
                   cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "keys"), *map(str, kernel)], check=True, text=True,
                          input=" ".join(map(str, values)), capture_output=True)
    wanted = [pow(value, exponent, prime) for value in values]
    assert done.stdout.split() == [str(key) for key in wanted for _ in range(2)]
