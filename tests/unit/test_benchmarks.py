"""The benchmarks run and say what they should.  No time is asserted anywhere."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = {"median", "min", "max", "q1", "q3", "reps"}
METRICS = {
    "throughput": {"messages_per_second", "gigabytes_per_second"},
    "batches": {"messages_per_second", "gigabytes_per_second"},
    "latency": {"p50_ns", "p99_ns", "p99_9_ns", "mean_ns", "clock_ns", "sleeps_per_round_trip"},
    "arrays": {"gigabytes_per_second", "net_gigabytes_per_second", "sum_us"},
}
CASES = {
    "throughput": {"64 B"},
    "batches": {"64 B, batches of 256"},
    "latency": {"64 B hot", "64 B parked"},
    "arrays": {"64 KiB arrays"},
}
SIZES = {"arrays": ("--size", "64KiB")}
QUESTIONS = (*METRICS, "queues", "multicast", "publishing", "taking", "imports", "floor")
MULTICASTS = [name for name in peers.names() if getattr(peers.load(name), "MULTICAST", False)]
TO_ONE = [name for name in peers.names() if name not in {*peers.ALL_OURS - {peers.OURS}, *MULTICASTS}]
NO_COMPILER = shutil.which("cc") is None

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


def bench(*arguments: str, path: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=100, check=False)


def results(*arguments: str, path: str = "", **variables: str) -> dict[str, Any]:
    done = bench(*arguments, "--quick", "--json", "-", path=path, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_peer(answers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a question that was asked in one case."""
    return {row["peer"]: row for row in answers["results"]}


def median(row: dict[str, Any], metric: str) -> float:
    value: float = row["metrics"][metric]["median"]
    return value


def ratios(answers: dict[str, Any]) -> list[tuple[str, str]]:
    return [(ratio["label"], ratio["metric"]) for ratio in answers["ratios"]]


@pytest.mark.parametrize("peer", TO_ONE)
@pytest.mark.parametrize("question", METRICS)
def test_a_quick_run_of_every_peer_completes_and_has_the_fields(question: str, peer: str) -> None:
    found = results(f"benchmarks.{question}", "--peers", peer, *SIZES.get(question, ()))
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
        assert all(math.isfinite(summary["median"]) and summary["min"] >= 0 for summary in row["metrics"].values())
        pinned = list(row["facts"]["cpus"].values())
        assert pinned == [[cpu] for cpu in found["settings"]["cpus"]], "each end is where it was meant to be"


@pytest.mark.parametrize("peer", ["ipc_queue", "mp_queue", "mp_pipe", "ipc_channel"])
def test_queues_are_measured_with_several_users_at_each_end(peer: str) -> None:
    (answers,) = results("benchmarks.queues", "--topology", "1:1", "2:2", "--peers", peer)["questions"]
    if peer in {"mp_pipe", "ipc_channel"}:  # one user at each end
        assert answers["results"] == []
        return
    ways = {f"{what}{how}" for what in ("tuples", "64 B") for how in ("", ", batches of 256")}
    assert {row["case"] for row in answers["results"]} == {f"{n}:{n}, {way}" for n in (1, 2) for way in ways}
    for row in answers["results"]:
        assert row["error"] is None
        assert median(row, "messages_per_second") > 0
        assert len(row["facts"]["cpus"]) == (2 if row["case"].startswith("1:1") else 4)


@pytest.mark.parametrize("peer", MULTICASTS)
def test_a_multicast_is_measured_with_several_readers_lossless_and_lossy(peer: str) -> None:
    sizes = ("--size", "64", "64KiB", "--readers", "3")
    (answers,) = results("benchmarks.multicast", *sizes, "--peers", peer)["questions"]
    if reasons := {entry["reason"] for entry in answers["skipped"]} - {"has no memory to lend to who publishes"}:
        assert peer != "ipc_multicast"
        pytest.skip(reasons.pop())
    uses = {
        "lossless": ("64 B", "64 KiB", "64 KiB, summed", "64 KiB, in place", "64 KiB, in place, asleep"),
        "lossy": ("64 B", "64 KiB", "64 KiB, as bytes", "64 KiB, summed"),
    }
    assert [row["case"] for row in answers["results"]] == [
        f"{policy}, {use}, 3 readers"
        for policy in uses
        for use in uses[policy]
        if not (peer == "zmq_pub_sub" and "in place" in use)
    ]
    for row in answers["results"]:
        assert (row["peer"], row["error"], row["counts"]) == (peer, None, [200])
        assert len(row["facts"]["cpus"]) == 1 + 3
        arrived, published, lost = (
            median(row, metric) for metric in ("messages_per_second", "published_per_second", "lost_share")
        )
        assert min(arrived, published) > 0
        assert lost == 0 if row["case"].startswith("lossless") else 0 <= lost < 1
        size = row["facts"]["case"]["message_bytes"]
        assert median(row, "gigabytes_per_second") == pytest.approx(arrived * size / 1e9)


@pytest.mark.parametrize("peer", MULTICASTS)
def test_a_publish_is_timed_with_subscribers_that_are_awake_and_that_sleep(peer: str) -> None:
    (answers,) = results("benchmarks.publishing", "--readers", "0", "3", "--peers", peer)["questions"]
    if reasons := [entry["reason"] for entry in answers["skipped"]]:
        assert peer != "ipc_multicast"
        pytest.skip(reasons[0])
    assert [row["case"] for row in answers["results"]] == [
        "lossless, 0 attached", "lossless, 3 attached", "lossless, 3 parked", "lossy, 0 attached", "lossy, 3 attached",
    ]  # fmt: skip
    for row in answers["results"]:
        assert (row["peer"], row["error"]) == (peer, None)
        assert row["counts"] == [20 if row["case"].endswith("parked") else 3 * 64]
        assert median(row, "ns_per_publish") > 0
    assert answers["more_is_better"] is False


@pytest.mark.parametrize(
    ("question", "peer", "reason"),
    [
        ("multicast", "mp_pipe", "is for one receiver of each message"),
        ("publishing", "mp_queue", "is for one receiver of each message"),
        ("throughput", "zmq_pub_sub", "is for one sender and all receivers"),
    ],
)
def test_who_sends_to_all_and_who_sends_to_one_are_not_compared(question: str, peer: str, reason: str) -> None:
    (answers,) = results(f"benchmarks.{question}", "--peers", peer)["questions"]
    assert answers["results"] == []
    assert {(entry["peer"], entry["reason"]) for entry in answers["skipped"]} == {(peer, reason)}


def test_messages_and_bytes_per_second_are_the_same_figure_in_other_units() -> None:
    (answers,) = results("benchmarks.batches", "--peers", "mp_pipe", "--size", "1KiB")["questions"]
    (row,) = answers["results"]
    assert row["facts"]["case"]["message_bytes"] == 1024
    assert median(row, "gigabytes_per_second") == pytest.approx(median(row, "messages_per_second") * 1024 / 1e9)


def test_our_batches_are_measured_beside_one_by_one_and_iteration() -> None:
    found = results("benchmarks.batches", "--peers", "mp_pipe", "ipc_channel", "--count", "600")
    (answers,) = found["questions"]
    rows = by_peer(answers)
    assert list(rows) == ["mp_pipe", "ipc_channel", "ipc_channel_iterate", "ipc_channel_single"]
    assert [row["facts"]["case"]["way"] for row in rows.values()] == ["many", "many", "iterate", "single"]
    assert [row["kind"] for row in rows.values()] == ["peer", "ours", "floor", "floor"], "ours is no peer of ours"
    for row in rows.values():
        assert (row["error"], row["counts"]) == (None, [600])
        assert median(row, "messages_per_second") > 0
        assert row["facts"]["cpus"] == rows["mp_pipe"]["facts"]["cpus"], "all of them ran in the same places"
    assert ratios(answers) == [
        ("ipc.channel / ipc.channel, one by one", "messages_per_second"),
        ("ipc.channel, batches out, iteration in / ipc.channel, one by one", "messages_per_second"),
        ("ipc.channel / best peer (mp.Pipe)", "messages_per_second"),
    ]


@pytest.mark.skipif(NO_COMPILER, reason="no C compiler")
def test_our_arrays_are_measured_beside_copies_of_them_and_the_same_loop_in_c() -> None:
    found = results("benchmarks.arrays", "--peers", "ipc_channel", "mp_pipe", "--count", "5")
    (answers,) = found["questions"]
    assert answers["skipped"] == []
    rows = by_peer(answers)
    assert set(rows) == {"ipc_channel", "mp_pipe", "ipc_channel_send", "c_memcpy", "c_lend"}
    assert all((row["error"], row["counts"]) == (None, [5]) for row in rows.values())
    ways = {key: row["facts"]["case"]["way"] for key, row in rows.items() if "case" in row["facts"]}
    assert ways == {"ipc_channel": "claim", "mp_pipe": "claim", "ipc_channel_send": "send"}
    for key in rows.keys() - {"c_memcpy"}:
        assert 0 < median(rows[key], "gigabytes_per_second") <= median(rows[key], "net_gigabytes_per_second")
        assert median(rows[key], "sum_us") > 0
    assert rows["c_lend"]["facts"] == {"cpus": found["settings"]["cpus"], "parameter": 8 << 20}
    assert rows["ipc_channel"]["facts"]["case"]["capacity_bytes"] == 8 << 20, "the C loop has a ring of the same size"
    assert ratios(answers) == [
        ("ipc.channel / C claim, copy, sum in place", "net_gigabytes_per_second"),
        ("ipc.channel / best peer (mp.Pipe)", "gigabytes_per_second"),
        ("C claim, copy, sum in place / C memcpy", "gigabytes_per_second"),
        ("ipc.channel / C memcpy", "gigabytes_per_second"),
    ]


def test_arrays_of_another_size_have_no_floor_of_lending() -> None:
    (answers,) = results("benchmarks.arrays", "--peers", "mp_pipe", "--size", "8")["questions"]
    assert set(by_peer(answers)) <= {"mp_pipe", "c_memcpy"}


def test_without_a_compiler_the_floors_are_skipped_with_the_reason() -> None:
    (answers,) = results("benchmarks.arrays", "--peers", "mp_pipe", "--count", "1", CC="no-such-cc")["questions"]
    assert list(by_peer(answers)) == ["mp_pipe"]
    skipped = [(entry["peer"], entry["reason"]) for entry in answers["skipped"]]
    assert skipped == [(key, "no C compiler: no-such-cc") for key in ("c_memcpy", "c_lend")]


def test_imports_are_timed_in_milliseconds_beside_those_of_multiprocessing() -> None:
    (answers,) = results("benchmarks.imports", "--reps", "2")["questions"]
    rows = by_peer(answers)
    names = {key: (row["name"], row["kind"]) for key, row in rows.items()}
    assert names == {
        "ours": ("import ipc", "ours"),
        "mp_queues": ("import multiprocessing.queues", "floor"),
    }
    for row in rows.values():
        assert (row["error"], row["counts"], list(row["metrics"])) == (None, [1, 1], ["import_ms"])
        assert row["metrics"]["import_ms"]["min"] > 0
        assert sum(row["metrics"]["import_ms"]["reps"]) / 1000 < sum(row["seconds"]), "a part of the time it all took"
    assert answers["more_is_better"] is False
    assert ratios(answers) == [("import ipc / import multiprocessing.queues", "import_ms")]


def test_taking_is_timed_in_nanoseconds_at_least_once_beside_at_most_once() -> None:
    (answers,) = results("benchmarks.taking")["questions"]
    assert [(row["case"], row["peer"], row["error"]) for row in answers["results"]] == [
        (case, key, None) for case in ("tuple", "64 B") for key in ("ours", "plain")
    ]
    for row in answers["results"]:
        assert row["metrics"]["ns_per_message"]["min"] > 0
        assert row["counts"] == [1000]
    assert answers["more_is_better"] is False
    assert len(ratios(answers)) == 2


@pytest.mark.skipif(NO_COMPILER, reason="no C compiler")
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


def test_the_report_has_every_question_that_was_asked(tmp_path: Path) -> None:
    asked = ("imports", "arrays", "batches")
    options = ("--peers", "ipc_channel", "--count", "5", "--output", str(tmp_path))
    done = bench("benchmarks", "--quick", "--only", *asked, *options)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "results.json").read_text())
    assert [answers["question"] for answers in written["questions"]] == ["batches", "arrays", "imports"]
    table = (tmp_path / "results.md").read_text()
    assert all(f"### {answers['title']}\n" in table for answers in written["questions"])
    assert "| case | peer | messages/s | min..max |" in table
    assert "| case | peer | GB/s | net of the sum | min..max of it |" in table
    (imported,) = (line for line in table.splitlines() if line.startswith("| import | import ipc |"))
    assert imported.count(" ms |") == 2, "the figure and its spread, each with its unit"
    for answers in written["questions"]:
        assert all(f"| {answers['question']} | {ratio['case']} | {ratio['label']} |" in table
                   for ratio in answers["ratios"])  # fmt: skip
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "results.png").exists() is drawn
    assert ("and results.png" in done.stdout) is drawn


@pytest.mark.parametrize("question", ["benchmarks", *(f"benchmarks.{name}" for name in QUESTIONS)])
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
