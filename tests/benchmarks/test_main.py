from __future__ import annotations

import sys

import pytest

from benchmarks import __main__ as runner


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder of benchmarks in place of the real ones; their modules are found there."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.setattr(runner, "HERE", folder)
    monkeypatch.delenv("HWGEN_DATA", raising=False)
    return folder


def run(monkeypatch, tmp_path, *words):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--out", str(tmp_path / "out"), *words])
    return runner.main()


def test_all_of_them(package, tmp_path, monkeypatch, capsys):
    (package / "first.py").write_text('print("words")\nprint(\'{"figure": 3}\')\n')
    (package / "second.py").write_text(
        'import sys\nassert sys.argv[1] == "--json"\nopen(sys.argv[2], "w").write("[1]")\n')
    (package / "third.py").write_text('"--data"\nraise SystemExit(3)\n')
    assert run(monkeypatch, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "words" in shown
    assert "left out: HWGEN_DATA is not set" in shown
    assert (tmp_path / "out" / "first.json").read_text() == '{\n  "figure": 3\n}\n'
    assert (tmp_path / "out" / "second.json").read_text() == "[1]"
    assert "words" in (tmp_path / "out" / "first.log").read_text()


def test_failure_is_told_and_the_others_run(package, tmp_path, monkeypatch, capsys):
    (package / "bad.py").write_text('raise SystemExit("no luck")\n')
    (package / "good.py").write_text("print(1)\n")
    assert run(monkeypatch, tmp_path) == 1
    shown = capsys.readouterr().out
    assert "no luck" in shown
    assert (tmp_path / "out" / "good.json").is_file()
    assert not (tmp_path / "out" / "bad.json").exists()


def test_name_unknown(package, tmp_path, monkeypatch, capsys):
    (package / "good.py").write_text("print(1)\n")
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, tmp_path, "goood")
    assert stopped.value.code == 2
    assert "a benchmark of good is needed, not goood" in capsys.readouterr().err


def test_real_ones_are_found():
    assert {"golden", "stream"} <= set(runner.names())
    assert "--json" in runner.options_of("stream")
