"""Files are written under a temporary name and renamed, so that a reader never meets half of one.

An interrupted or failed run leaves the earlier file as it was, byte for byte.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError

# Errors that are about the place written to, whichever file descriptor met them.
_PLACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_made: list[Path] = []        # folders, parents first


def _as_hwgen_error(path: Path, error: OSError) -> HwgenError:
    reason = error.strerror or str(error)
    return HwgenError(f"Cannot write {path}: {reason}")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents where they are missing, and return it.

    Raises: HwgenError, naming the path, if that is not possible or a file stands in its place.
    """
    folder = Path(path)
    fresh = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise HwgenError(f"Cannot make folder {folder}: a file of that name exists") from None
    except OSError as error:
        raise HwgenError(f"Cannot make folder {folder}: {error.strerror or error}") from error
    _made.extend(reversed([one.absolute() for one in fresh]))
    return folder


def drop_empty_folders() -> None:
    """Remove the folders that ``make_folder`` has made in this process and that are empty."""
    while _made:
        with suppress(OSError):
            _made.pop().rmdir()


def _temporary_beside(target: Path) -> Path:
    # The suffix stays last: numpy and several tools add or read it.
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")


@contextmanager
def replace_on_success(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary file exists, empty, from the start, so an unwritable folder is noticed before the
    work. It is removed if the block raises. Missing parent folders are made; a symbolic link is
    followed, not replaced.

    Raises: HwgenError, naming ``path``, for a full disk, an unwritable folder or a target that is
    not a regular file; other errors of the block pass through.
    """
    named = Path(path)
    target = Path(os.path.realpath(named))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "not a regular file"
        raise HwgenError(f"Cannot write {named}: it is {kind}")
    make_folder(target.parent)
    temporary = _temporary_beside(target)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise _as_hwgen_error(named, error) from error
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in _PLACE_ERRNOS or error.filename == os.fspath(temporary):
            raise _as_hwgen_error(named, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write ``data`` to ``path`` whole or not at all; text is UTF-8 with its line ends unchanged.

    Raises: HwgenError, naming ``path``, if it cannot be written.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    with replace_on_success(path) as temporary, open(temporary, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays as Python numbers and lists; numpy itself is not imported."""
    convert = getattr(value, "tolist", None)
    if convert is None:
        kind = type(value).__name__
        raise TypeError(f"Value must be JSON, a numpy array or a numpy scalar, not {kind}")
    return convert()


def json_text(value: Any) -> str:
    """JSON as the project writes it: keys in the order given, two spaces, a final line end.

    Raises: ValueError for NaN or infinity, TypeError for a value that has no JSON form.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON (see :func:`json_text`), whole or not at all."""
    write_atomic(path, json_text(value))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises: HwgenError, naming ``path``, if it is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise HwgenError(f"Cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise HwgenError(f"{path} is not valid JSON: {error}") from error
