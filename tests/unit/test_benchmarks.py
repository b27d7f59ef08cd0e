"""The benchmarks run and say what they should.  No time is asserted anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures, machine, peers
from benchmarks.contest import Contestant, Field, Sample, interleave
from benchmarks.figures import Column, rate
from benchmarks.options import Settings
from benchmarks.report import Report

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = {"median", "min", "max", "q1", "q3", "reps"}
METRICS = {
    "throughput": {"messages_per_second", "gigabytes_per_second"},
    "latency": {"p50_ns", "p99_ns", "p99_9_ns", "mean_ns", "clock_ns", "sleeps_per_round_trip"},
}
CASES = {"throughput": {"64 B"}, "latency": {"64 B hot", "64 B parked"}}

# Two processes that find each other by FIFOs in the link's directory, started by a launcher of the peer's own.
LAUNCHED_PEER = """
import os
from pathlib import Path

from benchmarks.peers import ReceiveEnd, SendEnd

NAME, DISTRIBUTION, WAITS, SHARED = "fifo", None, ("default", "hot", "parked"), False

def available():
    return None

def launch(count, argv):
    return ["sh", "-c", 'for i in $(seq ' + str(count) + '); do "$@" & done; wait', "sh", *argv]

def opened(link):
    path = Path(link.directory, link.name)
    try:
        os.mkfifo(path)
    except FileExistsError:
        pass
    return os.open(path, os.O_RDWR)

def sender(handle, link):
    fd = opened(link)
    return SendEnd(send=lambda message: os.write(fd, message))

def receiver(handle, link):
    fd = opened(link)
    return ReceiveEnd(recv=lambda: os.read(fd, link.message_bytes))
"""


def bench(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=100, check=False)


def results(*arguments: str, path: str = "") -> dict[str, Any]:
    done = bench(*arguments, "--quick", "--json", "-", path=path)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("peer", peers.names())
@pytest.mark.parametrize("question", METRICS)
def test_a_quick_run_of_every_peer_completes_and_has_the_fields(question: str, peer: str) -> None:
    found = results(f"benchmarks.{question}", "--peers", peer)
    assert found["schema"] == 1
    assert found["quick"] is True
    assert {"cpus", "pinned", "one_cpu_for_all", "threads_of_one_core"} == set(found["pins"])
    (answers,) = found["questions"]
    reasons = [entry["reason"] for entry in answers["skipped"] if entry["peer"] == peer]
    if reasons and peer != peers.OURS:
        pytest.skip(reasons[0])
    rows = [row for row in answers["results"] if row["kind"] != "floor"]
    assert {row["case"] for row in rows} == CASES[question]
    for row in rows:
        assert (row["peer"], row["name"]) == (peer, peers.load(peer).NAME)
        assert row["error"] is None
        assert row["counts"] == [200]
        assert METRICS[question] <= set(row["metrics"])
        assert all(set(summary) == SUMMARY for summary in row["metrics"].values())
        assert [len(where) for where in row["facts"]["cpus"].values()] == [1, 1], "each end is pinned to one CPU"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_floor_compiles_and_compares_our_core_with_a_plain_queue() -> None:
    (answers,) = results("benchmarks.floor")["questions"]
    assert answers["skipped"] == []
    assert {row["peer"] for row in answers["results"]} == {
        "c_ring_stream", "c_plain_stream", "c_ring_trip", "c_plain_trip", "c_futex", "c_memcpy",
    }  # fmt: skip
    assert [(ratio["case"], ratio["metric"]) for ratio in answers["ratios"]] == [
        ("8 B records, stream", "records_per_second"),
        ("8 B records, hot round trip", "round_trip_ns"),
    ]


def test_running_everything_writes_the_results_and_the_table(tmp_path: Path) -> None:
    done = bench("benchmarks", "--quick", "--only", "throughput", "--peers", "mp_pipe", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "results.json").read_text())
    assert [answers["question"] for answers in written["questions"]] == ["throughput"]
    table = (tmp_path / "results.md").read_text()
    assert "| case | peer | messages/s |" in table
    assert "measures nothing" in table, "nobody may take a quick run for a measurement"


@pytest.mark.parametrize("question", ["benchmarks", *(f"benchmarks.{name}" for name in (*METRICS, "floor"))])
def test_help_names_the_common_options(question: str) -> None:
    done = bench(question, "--help")
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in ("--reps", "--count", "--peers", "--json", "--quick"))


def test_a_peer_may_bring_its_own_launcher(tmp_path: Path) -> None:
    package = tmp_path / "bench_outside"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "fifo.py").write_text(LAUNCHED_PEER)
    found = results("benchmarks.latency", "--peers", "bench_outside.fifo", "--wait", "hot", path=str(tmp_path))
    (row,) = found["questions"][0]["results"]
    assert (row["name"], row["counts"]) == ("fifo", [200])


def test_a_peer_that_loses_or_breaks_a_message_fails(tmp_path: Path) -> None:
    package = tmp_path / "bench_outside"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.py").write_text(LAUNCHED_PEER.replace("os.read(fd, link.message_bytes)", "os.read(fd, 3)"))
    done = bench(
        "benchmarks.throughput", "--quick", "--peers", "bench_outside.broken", "--json", "-", path=str(tmp_path)
    )
    assert done.returncode == 1
    (row,) = json.loads(done.stdout)["questions"][0]["results"]
    assert "did not arrive as it was sent" in row["error"]


def test_a_peer_that_is_not_there_is_refused() -> None:
    assert "no such peer: carrier_pigeon" in bench("benchmarks.throughput", "--peers", "carrier_pigeon").stderr


# --- the parts ----------------------------------------------------------------


def contestant(name: str, values: list[float], order: list[str]) -> Contestant:
    remaining = iter(values)

    def measure() -> Sample:
        order.append(name)
        try:
            return Sample(1, 1.0, {"rate": next(remaining)}, {})
        except StopIteration:
            raise RuntimeError("broke down") from None

    return Contestant(name, name, "ours" if name == "a" else "peer", "case", None, measure)


def test_repetitions_take_turns() -> None:
    order: list[str] = []
    interleave("question", [contestant("a", [1, 2, 3], order), contestant("b", [1, 2, 3], order)], 3)
    assert order == ["a", "b"] * 3


def test_who_fails_is_left_out_of_the_rest() -> None:
    order: list[str] = []
    rows = interleave("question", [contestant("a", [1], order), contestant("b", [1, 2, 3], order)], 3)
    assert order == ["a", "b", "a", "b", "b"]
    assert [(row.error, len(row.samples)) for row in rows] == [("broke down", 1), (None, 3)]


def test_ratios_divide_neighbours() -> None:
    report = Report("question", "title", [Column("rate", "rate", rate)], "rate")
    entered = Field([contestant("a", [10, 200], []), contestant("b", [5, 50], []), contestant("c", [1, 1], [])])
    rows = report.hold(entered, Settings(reps=2))
    report.compare(rows, "ours", "best", goal="more")
    report.compare(rows, "ours", "nobody")
    (ratio,) = report.ratios
    assert (ratio.label, ratio.value["reps"], ratio.value["median"]) == ("a / best peer (b)", [2.0, 4.0], 3.0)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert [figures.percentile(values, percent) for percent in (50, 99, 99.9, 100)] == [500, 990, 999, 1000]
    assert figures.percentile([7.0], 99.9) == 7


@pytest.mark.parametrize(("text", "size"), [("64", 64), ("64KiB", 65536), ("1MiB", 1 << 20), ("3k", 3072)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert figures.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1.5MiB", "64Kib64"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        figures.parse_bytes(text)


def test_the_chosen_cpus_are_ours_and_differ_where_they_can() -> None:
    allowed = machine.allowed_cpus()
    chosen = machine.pick_cpus(2)
    assert all(cpu is None or cpu in allowed for cpu in chosen)
    assert len(set(chosen)) == min(2, len(allowed) or 1)


def test_every_peer_has_the_common_shape() -> None:
    for name in peers.names():
        peer = peers.load(name)
        assert peer.NAME
        assert set(peer.WAITS) <= {"default", "hot", "parked"}
        assert isinstance(peer.SHARED, bool)
        assert all(callable(getattr(peer, step)) for step in ("available", "make", "sender", "receiver"))
