"""Bad input on the command line: one line on standard error, an exit code, nothing else touched."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hwgen
from hwgen.commands import app
from hwgen.errors import HwgenError

VERBS = (
    "demo", "train", "compress", "rtl", "verify", "synth", "bitstream", "run", "adders", "sweep",
    "report", "doctor",
)
Result = tuple[int, str, str]
Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """``run("verb", ...)``: exit code, standard output, standard error."""

    def run_one(*arguments: object) -> Result:
        code = app.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run_one


@pytest.fixture
def design(tmp_path: Path) -> Path:
    """A folder that looks as if `hwgen rtl` had filled it."""
    folder = tmp_path / "design"
    folder.mkdir()
    for name in ("net.npz", "top.v", "ports.json", "plan.json"):
        (folder / name).touch()
    return folder


def plant(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Put a module in the place of one that a verb imports."""
    planted = types.ModuleType(module)
    for name, function in functions.items():
        setattr(planted, name, function)
    package, _, name = module.rpartition(".")
    monkeypatch.setitem(sys.modules, module, planted)
    monkeypatch.setattr(importlib.import_module(package), name, planted, raising=False)


def assert_refused(result: Result, message: str) -> None:
    """Exit code 2, nothing on standard output, exactly this line on standard error."""
    assert result == (2, "", f"hwgen: {message}\n")


# ---------------------------------------------------------------------------------------------
# Help


def test_help_fits_a_screen(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert [verb for verb in VERBS if f"\n  {verb} " not in out] == []
    assert "..." not in out.partition("\n")[2]      # no description cut short


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(run: Run, verb: str) -> None:
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: hwgen {verb}")


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"hwgen {hwgen.__version__}\n", "")


def test_console_script() -> None:
    script = Path(sys.executable).with_name("hwgen")
    done = subprocess.run([script, "nothing"], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hwgen: No such command 'nothing'.\n"


def test_documented_flags_are_those_of_the_program(run: Run, repository: Path) -> None:
    text = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    for verb in VERBS:
        out = run(verb, "--help")[1]
        flags = {word for word in out.replace(",", " ").split() if word.startswith("--")}
        section = text.partition(f"\n## hwgen {verb}\n")[2].partition("\n## ")[0]
        assert section, verb
        missing = {flag for flag in flags - {"--help"} if f"`{flag}" not in section}
        assert not missing, verb


# ---------------------------------------------------------------------------------------------
# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["nothing"], "No such command 'nothing'"),
        (["--nothing"], "No such option: --nothing"),
        (["doctor", "--nothing"], "No such option: --nothing"),
        (["doctor", "more"], "unexpected extra argument"),
        (["rtl"], "Missing argument 'net.npz'"),
        (["rtl", "net.npz"], "Missing option '--out'"),
        (["rtl", "net.npz", "--out", "d", "--engine", "gpu"], "'gpu' is not one of"),
        (["verify", "d", "--simulator", "vcs"], "'vcs' is not one of"),
        (["verify", "d", "--layers", "some"], "'some' is not one of"),
        (["verify", "d", "--seed", "x"], "'--seed': Input should be a valid integer"),
        (["verify", "d", "--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
        (["compress", "m", "--data", "digits", "--out", "n.npz", "--budget", "-1"], "--budget"),
        (["compress", "m", "--data", "digits", "--out", "n.npz", "--act-bits", "17"], "--act-bits"),
        (["compress", "m", "--data", "digits", "--out", "n.npz", "--objective", "w"], "'w' is not"),
        (["compress", "m", "--data", "digits", "--out", "n.npz", "--finetune", "-1"], "--finetune"),
        (["compress", "m", "--data", "digits", "--out", "n.npz", "--device", "x"], "'x' is not"),
        (["train", "digits", "--data", "digits", "--out", "m", "--epochs", "0"], "--epochs"),
        (["adders", "m.npy", "--delays", "diagonal"], "'diagonal' is not one of"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("hwgen: ")
    assert err.count("\n") == 1


def test_flags_of_the_other_engine(run: Run, tmp_path: Path) -> None:
    result = run("rtl", "net.npz", "--tn", "8", "--out", tmp_path)
    assert_refused(result, "--tn, --code, --memory, --ports and --cores are of --engine nfu")


def test_network_file_missing(run: Run, tmp_path: Path) -> None:
    result = run("rtl", tmp_path / "net.npz", "--out", tmp_path / "d")
    assert_refused(result, f"{tmp_path}/net.npz must be a file; it is not there")
    result = run("rtl", tmp_path, "--out", tmp_path / "d")
    assert_refused(result, f"{tmp_path} must be a file; it is a folder")
    assert not (tmp_path / "d").exists()


def test_network_file_broken(run: Run, tmp_path: Path) -> None:
    net, out = tmp_path / "net.npz", tmp_path / "d"
    net.write_bytes(b"PK\x03\x04 and no more")
    code, stdout, err = run("rtl", net, "--out", out)
    assert (code, stdout) == (2, "")
    assert str(net) in err
    assert err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("verb", ["verify", "synth", "report"])
def test_folder_that_is_no_design(run: Run, tmp_path: Path, verb: str) -> None:
    more = ["--target", "up5k"] if verb == "synth" else []
    needed = "must be a folder made by `hwgen rtl`; it"
    result = run(verb, tmp_path / "none", *more)
    assert_refused(result, f"{tmp_path}/none {needed} is not there")
    (tmp_path / "file").touch()
    assert_refused(run(verb, tmp_path / "file", *more), f"{tmp_path}/file {needed} is a file")
    assert_refused(run(verb, tmp_path, *more), f"{tmp_path} {needed} holds no net.npz")


def test_failed_run_leaves_no_empty_folders(run: Run, tmp_path: Path) -> None:
    """None that it made; one that was there before stays."""
    path, kept = tmp_path / "net.npz", tmp_path / "kept"
    path.write_bytes(b"not a network file")
    kept.mkdir()
    for out in (kept / "new" / "deep", kept):
        assert run("rtl", path, "--out", out)[0] == 2
        assert kept.is_dir()
        assert not list(kept.iterdir())


def test_unwritable_places(run: Run, tmp_path: Path) -> None:
    """A file stands where a folder must be made; noticed before any work."""
    net, file = tmp_path / "net.npz", tmp_path / "file"
    net.touch()
    file.write_text("earlier")
    under = file / "x"
    told = f"Cannot make folder {file}: a file of that name exists"
    assert_refused(run("rtl", net, "--out", file), told)
    assert_refused(run("demo", "--out", file), told)
    train = ("train", "digits", "--data", "digits", "--out")
    assert_refused(run(*train, under), told)
    assert_refused(run(*train, tmp_path), f"{tmp_path} must be a file to write; it is a folder")
    compress = ("compress", "m.safetensors", "--data", "digits", "--out")
    assert_refused(run(*compress, file / "net.npz"), told)
    assert_refused(run(*compress, under), f"--out must name an .npz file, not {under}")
    assert file.read_text() == "earlier"


def test_folder_without_permission(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the refusal is planted."""
    net = tmp_path / "net.npz"
    net.touch()
    real = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    result = run("rtl", net, "--out", tmp_path / "d")
    assert_refused(result, f"Cannot write {tmp_path}/d: Permission denied")


@pytest.mark.parametrize("count", ["0", "-3", "1.5", "some", "", "²"])
def test_count_of_images(run: Run, design: Path, count: str) -> None:
    result = run("verify", design, f"--images={count}")
    assert_refused(result, f"--images must be a number from 1, or all, not {count!r}")


def test_means(run: Run, design: Path) -> None:
    result = run("verify", design, "--mean", "0.5,x")
    assert_refused(result, "--mean must be numbers with commas between, not '0.5,x'")


def test_training_of_unknown_network_and_data(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    for name, data in (("nothing", "digits"), ("digits", "nothing"), ("digits", "mnist:/none")):
        code, stdout, err = run("train", name, "--data", data, "--out", out)
        assert (code, stdout) == (2, "")
        assert err.startswith("hwgen: ")
        assert err.count("\n") == 1
        assert ("/none" if "/" in data else "nothing") in err
    assert not out.exists()


def test_unknown_method(run: Run, tmp_path: Path) -> None:
    code, stdout, err = run(
        "compress", tmp_path / "m.safetensors", "--method", "nothing", "--data", "digits",
        "--out", tmp_path / "net.npz",
    )
    assert (code, stdout) == (2, "")
    assert err.count("\n") == 1
    assert not (tmp_path / "net.npz").exists()


def test_unknown_target(run: Run, design: Path) -> None:
    code, stdout, err = run("synth", design, "--target", "nothing")
    assert (code, stdout) == (2, "")
    assert "nothing" in err
    assert "ecp5-85" in err
    assert err.count("\n") == 1
    assert not (design / "synth.json").exists()


# ---------------------------------------------------------------------------------------------
# What becomes of an error


def raiser(error: BaseException) -> Callable[..., Any]:
    def raise_it(*arguments: Any, **options: Any) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (HwgenError("Needed a\n  and got b"), 2, "Needed a and got b"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b"), 2,
         "/a/b: No such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 2, "/a/b: Permission denied"),
        (OSError(errno.EXDEV, "Cross-device link", "/a", None, "/b"), 2,
         "/a -> /b: Cross-device link"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (MemoryError(), 2, "out of memory"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2,
         "this needs torch, which is not installed: pip install 'hwgen[train]'"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (app.Terminated(), 143, "terminated"),
        (SystemExit("ERROR: simulator gone"), 2, "ERROR: simulator gone"),
        (ModuleNotFoundError("No module named 'hwgen.x'", name="hwgen.x"), 3,
         "internal error: No module named 'hwgen.x' (--debug shows where)"),
        (KeyError("x"), 3, "internal error: KeyError: 'x' (--debug shows where)"),
    ],
)
def test_error_becomes_a_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: BaseException, code: int, message: str,
) -> None:
    net = tmp_path / "net.npz"
    net.touch()
    plant(monkeypatch, "hwgen.stream.emit", write_design=raiser(error))
    result = run("rtl", net, "--out", tmp_path / "d")
    assert result == (code, "", f"hwgen: {message}\n")


def test_debug_shows_where(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "net.npz"
    net.touch()
    plant(monkeypatch, "hwgen.stream.emit", write_design=raiser(HwgenError("told")))
    for arguments in (["--debug", "rtl"], ["rtl", "--debug"]):
        code, _, err = run(*arguments, net, "--out", tmp_path / "d")
        assert code == 2
        assert "Traceback" in err
        assert err.endswith("\nhwgen: told\n")


def verification(**changes: Any) -> dict[str, Any]:
    return {
        "images": 20, "simulator": "verilator", "values_compared": 1200, "mismatches": 0,
        "passed": True, "first_difference": None, "problems": [],
        "accuracy_golden": 0.95, "accuracy_rtl": 0.95, **changes,
    }


def test_verification_that_succeeds(
    run: Run, design: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "hwgen.sim.verify", verify=lambda *args, **options: verification())
    assert run("verify", design) == (
        0, ("20 images on verilator: 1,200 values compared, 0 mismatches; "
            "accuracy 95.00 % golden, 95.00 % hardware\n"), "",
    )


def test_verification_that_fails(run: Run, design: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"layer": "conv1", "image": 3, "channel": 2, "row": 0, "column": 5,
             "expected": -7, "got": 7}
    result = verification(mismatches=4, first_difference=first, passed=False)
    plant(monkeypatch, "hwgen.sim.verify", verify=lambda *args, **options: result)
    code, _, err = run("verify", design)
    assert code == 1
    assert err == ("hwgen: layer conv1 differs: image 3, channel 2, row 0, column 5: "
                   "expected -7, got 7; and 3 more\n")
    result |= {"mismatches": 0, "first_difference": None, "problems": ["tlast is late", "b", "c"]}
    code, _, err = run("verify", design)
    assert (code, err) == (1, "hwgen: tlast is late; and 2 more, see verify.json\n")


# ---------------------------------------------------------------------------------------------
# Ctrl-C and SIGTERM in the middle of a verb

# A verb whose work says when it has begun, and then lasts.
WAITING = """
import sys, time, types
from hwgen.files import replace_on_success
import hwgen.stream

def write_design(net, out, **options):
    (out / "plan.json").write_text("done before")
    with replace_on_success(out / "top.v") as temporary:
        temporary.write_text("half")
        print("begun", flush=True)
        time.sleep(60)

emit = types.ModuleType("hwgen.stream.emit")
emit.write_design = write_design
sys.modules["hwgen.stream.emit"] = hwgen.stream.emit = emit
from hwgen.commands import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_stopped_in_the_middle(tmp_path: Path, number: int, code: int, word: str) -> None:
    net, out = tmp_path / "net.npz", tmp_path / "d"
    net.touch()
    out.mkdir()
    (out / "top.v").write_text("earlier")
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, "rtl", str(net), "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        err = process.communicate()[1]
    assert process.returncode == code
    assert err == f"hwgen: {word}\n"
    assert (out / "top.v").read_text() == "earlier"
    assert sorted(path.name for path in out.iterdir()) == ["plan.json", "top.v"]


def test_training_interrupted(tmp_path: Path) -> None:
    """The real verb, its real work: the earlier weights stay, and a checkpoint beside them."""
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"earlier")
    script = Path(sys.executable).with_name("hwgen")
    with subprocess.Popen(
        [script, "train", "digits", "--data", "digits", "--epochs", "100000", "--out", out],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        begun = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stdout, err = process.communicate()
    assert begun.startswith("  ")           # a line of progress: it was at work
    assert (process.returncode, stdout) == (130, "")
    assert err.endswith("hwgen: interrupted\n")
    assert "Traceback" not in err
    assert out.read_bytes() == b"earlier"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["m.checkpoint.safetensors", "m.safetensors"]


def test_reader_that_leaves(tmp_path: Path) -> None:
    """`hwgen doctor | head -1` ends quietly."""
    script = Path(sys.executable).with_name("hwgen")
    with subprocess.Popen(
        [script, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert b"Traceback" not in err
    assert b"Exception" not in err
