from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.files import (
    json_text,
    make_folder,
    read_json,
    replace_on_success,
    write_atomic,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"\x00\xff\r\n", "grün\n"])
def test_write_atomic(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "deep" / "er" / "file.bin"
    write_atomic(path, data)
    assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert names(path.parent) == ["file.bin"]


def test_file_mode_is_the_usual_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", b"")
    (tmp_path / "usual").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "usual")}
    assert len(modes) == 1


def test_failed_block_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(b"earlier")

    def write_half() -> None:
        with replace_on_success(path) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".npz"
            temporary.write_bytes(b"half")
            assert path.read_bytes() == b"earlier"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["net.npz"]


def test_interrupted_process_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("earlier")
    code = (
        "import sys, time\nfrom hwgen.files import replace_on_success\n"
        "with replace_on_success(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["result.json"]


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("earlier")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_folder_in_the_place(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=f"^Cannot write {tmp_path}: it is a folder$"):
        write_atomic(tmp_path, b"")


def test_device_is_not_replaced() -> None:
    with pytest.raises(HwgenError, match="^Cannot write /dev/null: it is not a regular file$"):
        write_atomic("/dev/null", b"")


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HwgenError, match=f"^Cannot make folder {tmp_path}/file: a file of that"):
        write_atomic(tmp_path / "file" / "net.npz", b"")
    with pytest.raises(HwgenError, match="^Cannot make folder .*/file/deep: Not a directory$"):
        make_folder(tmp_path / "file" / "deep")


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int, mode: int) -> int:      # root may write anywhere, so:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(HwgenError, match=f"^Cannot write {tmp_path}/net.npz: Permission denied$"):
        write_atomic(tmp_path / "net.npz", b"")


def test_read_only_file_system() -> None:
    with pytest.raises(HwgenError, match="^Cannot (write|make folder) /proc/self/"):
        write_atomic("/proc/self/net.npz", b"")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(b"earlier")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HwgenError, match=f"^Cannot write {path}: {os.strerror(code)}$"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["net.npz"]


def test_file_too_large_for_the_limit(tmp_path: Path) -> None:
    """The kernel's own refusal, in a process that may write 1,000 bytes."""
    path = tmp_path / "net.npz"
    path.write_bytes(b"earlier")
    code = (
        "import signal, sys\nfrom hwgen.errors import HwgenError\n"
        "from hwgen.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n    write_atomic(sys.argv[1], bytes(100_000))\n"
        "except HwgenError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, encoding="utf-8", check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.stdout == f"Cannot write {path}: File too large\n"
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["net.npz"]


def test_other_errors_pass_through(tmp_path: Path) -> None:
    """A file that the block misses is not this file's fault."""
    with pytest.raises(FileNotFoundError), replace_on_success(tmp_path / "a"):
        (tmp_path / "missing").read_bytes()
    assert names(tmp_path) == []


def test_json_is_stable(tmp_path: Path) -> None:
    value = {"b": np.int64(3), "a": [np.float64(0.5), np.array([[1, 2]])], "none": None, "ü": "é"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text == json_text(value)
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["b", "a", "none", "ü"]
    assert json.loads(text) == {"b": 3, "a": [0.5, [[1, 2]]], "none": None, "ü": "é"}
    assert read_json(tmp_path / "x.json") == json.loads(text)


@pytest.mark.parametrize("value", [float("nan"), np.float64("inf")])
def test_json_without_nan(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, [value])
    assert path.read_text() == "{}"


def test_json_of_wrong_type() -> None:
    with pytest.raises(TypeError, match="^Value must be JSON, .*, not set$"):
        json_text({1, 2})


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_read_broken_json(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(HwgenError, match=f"^{path} is not valid JSON: "):
        read_json(path)


def test_read_missing_json(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=f"^Cannot read {tmp_path}/x.json: No such file"):
        read_json(tmp_path / "x.json")
