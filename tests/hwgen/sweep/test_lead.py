from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.sweep import lead, stages
from hwgen.sweep.lead import STORE, run_sweep
from hwgen.sweep.store import Store, only_one
from tests.hwgen.sweep.spaces import FAKE, read, rows, runs, sweep, write

SPACE = """
methods = ["P5", "T3", "P9", "refused"]
engines = ["stream", "nfu:tn=8"]
targets = ["up5k", "ecp5-85"]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 16 points: P5 and T3 end in the same network, four points fail."""
    folder = tmp_path_factory.mktemp("swept")
    said = []
    tally = sweep(folder, SPACE, workers=2, progress=lambda *words: said.append(words))
    assert (tally.points, tally.done, tally.failed, tally.kept) == (16, 12, 4, 0)
    assert said[-1] == ("points; open: nothing; 4 failed", 16, 16)
    return folder


def test_common_work_is_done_once(swept: Path) -> None:
    """4 compressions; of 2 networks 2 engines, and each for 2 targets."""
    begun = runs(swept)
    assert Counter(line.partition(" ")[0] for line in begun.elements()) == {
        "compress": 4, "rtl": 4, "synth": 8}


def test_figures_of_a_point(swept: Path) -> None:
    by_name = {(row["methods"], row["engine"], row["target"]): row for row in rows(swept).values()}
    row = by_name["T3", "nfu:tn=8", "ecp5-85"]
    assert row["status"] == "done"
    assert (row["cycles"], row["lut"], row["lut_from"], row["fmax_mhz"]) == (
        2000, 200, "synth", None)
    assert row["digest"] == by_name["P5", "stream", "up5k"]["digest"]
    assert row["adders"] == 2 * row["accuracy_integer"] * 1000
    assert row["seed"] == 0
    assert row["workers"].startswith("tcp://127.0.0.1:")


def test_failure_is_kept_with_its_log(swept: Path) -> None:
    failed = [row for row in rows(swept).values() if row["status"] == "failed"]
    assert {row["methods"] for row in failed} == {"refused"}
    for row in failed:
        assert (row["failed_stage"], row["error"]) == ("compress", "no luck with this one")
        said = row["log"].splitlines()  # the two streams of a process have no order
        assert {"compress: a word of progress", "hwgen: no luck with this one"} <= set(said)


def test_nothing_is_left_behind(swept: Path) -> None:
    assert sorted(path.name for path in (swept / "out").iterdir()) == [
        "failed", STORE, "stages", stages.TOKEN, "sweep.lock"]
    assert not [path for path in (swept / "out" / "stages").iterdir() if path.name[0] == "."]


def test_again_nothing_runs(swept: Path) -> None:
    before, begun = rows(swept), runs(swept)
    tally = sweep(swept, SPACE)
    assert (tally.kept, tally.done, tally.failed) == (16, 12, 4)
    assert not tally.ran
    assert (rows(swept), runs(swept)) == (before, begun)


def test_retry_and_more_points(swept: Path) -> None:
    """Failures are tried again; what the wider space has in common with the old is there."""
    begun = runs(swept)
    wider = SPACE.replace('"up5k", ', '"up5k", "gates", ')
    tally = sweep(swept, wider, retry=True)
    assert (tally.points, tally.done, tally.failed, tally.kept) == (24, 18, 6, 12)
    new = runs(swept) - begun
    assert Counter(line.partition(" ")[0] for line in new.elements()) == {
        "compress": 1, "synth": 4}
    assert all("gates" in line or "refused" in line for line in new)


def test_row_that_was_not_written(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the power went between a point's last stage and its row: nothing runs, no worker."""
    monkeypatch.setattr("hwgen.sweep.lead._client", None)
    key = next(key for key, row in rows(swept).items() if row["status"] == "done")
    before, begun = rows(swept), runs(swept)
    with sqlite3.connect(swept / "out" / STORE) as base:
        base.execute("DELETE FROM points WHERE key = ?", (key,))
    base.close()
    sweep(swept, SPACE)
    after = rows(swept)
    assert {**after[key], "finished": before[key]["finished"]} == before[key]
    assert runs(swept) == begun


LEAD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)     # also where a shell has it ignored
from pathlib import Path
from tests.hwgen.sweep.spaces import FAKE, read
from hwgen.sweep.lead import run_sweep
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        run_sweep(read(folder / "space.toml"), folder / "out", workers=2, program=FAKE)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started(folder: Path, repository: Path, count: int) -> subprocess.Popen[bytes]:
    """A sweep in a session of its own, two workers, that has so many points behind it."""
    (folder / "delay.txt").write_text("0.15")
    (folder / "out").mkdir()
    with Store(folder / "out" / STORE):
        pass
    leader = subprocess.Popen([sys.executable, "-c", LEAD, str(folder)], cwd=repository,
                              stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(rows(folder)) < count and time.monotonic() < deadline:
        assert leader.poll() is None, leader.stderr and leader.stderr.read().decode()
        time.sleep(0.02)
    return leader


def test_ctrl_c(tmp_path: Path, repository: Path) -> None:
    """It reaches all that runs in the terminal, as there; no point fails by it."""
    write(tmp_path, f"methods = {[f'P{n}' for n in range(40)]}\nuntil = 'compress'\n")
    leader = started(tmp_path, repository, 2)
    os.killpg(leader.pid, signal.SIGINT)
    _, said = leader.communicate(timeout=60)
    assert (leader.returncode, said) == (130, b"")
    found = rows(tmp_path)
    assert 2 <= len(found) < 40
    assert {row["status"] for row in found.values()} == {"done"}
    assert not (tmp_path / "out" / "failed").exists()


def test_killed_and_gone_on_with(tmp_path: Path, repository: Path) -> None:
    """kill -9 in the middle: no finished point is lost, none is made again."""
    text = (f"methods = {[f'P{n}' for n in range(6)]}\nengines = ['stream']\n"
            "targets = ['up5k', 'ecp5-85']\n")
    write(tmp_path, text)
    leader = started(tmp_path, repository, 3)
    leader.send_signal(signal.SIGKILL)
    leader.communicate()
    kept = rows(tmp_path)
    assert 3 <= len(kept) < 12
    time.sleep(0.5)                       # what it had started ends with it
    whole = {path.name for path in (tmp_path / "out" / "stages").glob("[a-z]*")}
    begun = runs(tmp_path)
    (tmp_path / "delay.txt").write_text("0")
    tally = run_sweep(read(tmp_path / "space.toml"), tmp_path / "out", workers=2, program=FAKE)
    found = rows(tmp_path)
    assert (tally.done, tally.failed, tally.kept) == (12, 0, len(kept))
    assert all(found[key] == row for key, row in kept.items())
    assert {row["status"] for row in found.values()} == {"done"}
    all_stages = {path.name for path in (tmp_path / "out" / "stages").iterdir()}
    assert len(all_stages) == 6 + 6 + 12
    # What was whole when it was killed was not begun again; at most the two stages in hand were.
    assert sum((runs(tmp_path) - begun).values()) == len(all_stages - whole)
    assert sum(runs(tmp_path).values()) <= len(all_stages) + 2


def test_one_sweep_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with only_one(tmp_path / "out"), pytest.raises(HwgenError, match="Another sweep is running"):
        sweep(tmp_path, SPACE)


@pytest.mark.slow
def test_worker_that_dies(tmp_path: Path) -> None:
    """A stage takes its worker along, and again alone: its point fails, the others are done."""
    tally = sweep(tmp_path, 'methods = ["P5", "murder", "P9"]\nuntil = "compress"')
    assert (tally.done, tally.failed) == (2, 1)
    row = next(row for row in rows(tmp_path).values() if row["status"] == "failed")
    assert (row["methods"], row["failed_stage"]) == ("murder", "compress")
    assert row["error"] == "each worker that took it up died"
    assert runs(tmp_path)["compress m.onnx --data digits --method murder --seed 0 --out"] == 2


class Silent:
    """A queue in which nothing comes, and a client without workers."""

    thread_condition = threading.Condition()

    def has_ready(self) -> bool:
        return False

    def nthreads(self) -> dict[str, int]:
        return {}


def test_no_worker_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead, "PATIENCE", 0.2)
    monkeypatch.setattr(lead, "WATCH", 0.1)
    with pytest.raises(HwgenError, match="No worker is left; the same command goes on"):
        lead._next(Silent(), Silent())


@pytest.mark.parametrize("raw", [b"not a database, not at all", b"SQLite format 3\0" + b"x" * 5000])
def test_store_broken(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / STORE).write_bytes(raw)
    with pytest.raises(HwgenError, match=f"^{tmp_path / 'out' / STORE}: "):
        sweep(tmp_path, SPACE)


def test_store_of_another_format(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / STORE) as base:
        base.execute("CREATE TABLE points (a)")
        base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(HwgenError, match="a store of format 1 needed, not 7"):
        Store(tmp_path / STORE)


def test_scheduler(tmp_path: Path) -> None:
    """Workers of another's are used and left alone; one that is at fault ends the sweep."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1",
                      dashboard_address="127.0.0.1:0") as cluster:
        tally = sweep(tmp_path, 'methods = ["P5", "P9"]\nuntil = "compress"',
                      scheduler=cluster.scheduler_address)
        assert (tally.done, tally.failed) == (2, 0)
        assert len(cluster.workers) == 2                      # they are left alone
        space = read(write(tmp_path, 'methods = ["P7"]\nuntil = "compress"'))
        with pytest.raises(HwgenError, match="compress-.*: .*No such file or directory"):
            run_sweep(space, tmp_path / "out", scheduler=cluster.scheduler_address,
                      program=("/no/such/program",))


def test_scheduler_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwgen.sweep.lead.PATIENCE", 1.0)
    with pytest.raises(HwgenError, match="--scheduler tcp://127.0.0.1:9: no dask scheduler"):
        sweep(tmp_path, SPACE, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(HwgenError, match="--scheduler nonsense://x: no dask scheduler"):
        sweep(tmp_path, SPACE, scheduler="nonsense://x")
    assert FAKE[1].endswith("fake.py")
