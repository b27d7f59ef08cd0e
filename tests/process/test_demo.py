"""The demo: right results over both transports, bad files counted, dead workers reported."""

from __future__ import annotations

import json
import multiprocessing
import operator
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ipc.cli
from ipc.demo import over_queue, over_reliable
from ipc.demo.sources import LARGEST_FILE_BYTES, NoSourcesError, read_tree, standard_library
from ipc.demo.tally import FILE_TALLY, Tally, differences, merge, tally_file
from ipc.demo.worker import READY, TIMING, Outcome, WorkerFailedError, work

DEMO = [sys.executable, "-m", "ipc", "demo"]

GOOD_FILES = {
    "first.py": b"alpha = beta + 1\n",
    "empty.py": b"",
    "package/latin.py": "# coding: latin-1\n\u00e9tonnante_largeur = 'd\u00e9j\u00e0 vu'\n".encode("latin-1"),
    "package/bom.py": b"\xef\xbb\xbfbom = True\n",
}
BAD_FILES = {
    "bad/encoding.py": b"# coding: nonsense\n",
    "bad/no_text.py": b"# coding: hex\n",
    "bad/not_utf8.py": b"x = '\xff'\n",
    "bad/open_bracket.py": b"f(1,\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, GOOD_FILES)
    return tmp_path


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run_demo(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, *map(str, arguments)], check=False, capture_output=True, text=True, **options)


def demo_json(*arguments: str | Path, **options: Any) -> dict[str, Any]:
    done = run_demo(*arguments, "--json", **options)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_both_transports_give_the_result_of_one_process(tree: Path) -> None:
    found = demo_json("--source", tree, "--workers", "2")
    assert found["ok"] is True
    assert found["files"] == len(GOOD_FILES)
    assert found["bytes"] == sum(map(len, GOOD_FILES.values()))
    assert found["failed"] == {}
    assert found["longest_identifiers"] == ["\u00e9tonnante_largeur", "alpha", "beta", "bom"]
    assert found["token_types"]["STRING"] == found["token_types"]["NUMBER"] == 1
    assert found["tokens"] == sum(found["token_types"].values())
    assert [run["name"] for run in found["runs"]] == ["one process", "ipc", "multiprocessing.Queue"]
    assert [run["processes"] for run in found["runs"]] == [1, 2, 2]


def test_a_message_goes_out_and_back_for_each_file_and_each_worker(tree: Path) -> None:
    runs = demo_json("--source", tree, "--workers", "2", "--kill", "0")["runs"]
    assert [run["messages"] for run in runs] == [0, 2 * (len(GOOD_FILES) + 2), 2 * (len(GOOD_FILES) + 2)]
    assert [run["killed"] for run in runs] == [run["redelivered"] for run in runs] == [0, 0, 0]


def test_a_worker_is_killed_on_the_way_and_the_result_is_still_that_of_one_process(tree: Path) -> None:
    write(tree, {f"long_{number}.py": b"x = (1, 2, 3)\n" * 5_000 for number in range(12)})
    found = demo_json("--source", tree, "--workers", "2")
    assert found["ok"] is True
    assert [run["killed"] for run in found["runs"]] == [0, 1, 0]
    assert found["runs"][1]["redelivered"] >= 1  # what it held went to another
    table = run_demo("--source", tree, "--workers", "2", "--kill", "2").stdout
    assert "All runs gave the same result." in table
    assert {"killed", "again"} <= set(table.split())


def test_the_table_fits_into_80_columns(tree: Path) -> None:
    lines = run_demo("--source", tree, "--workers", "1", env=os.environ | {"COLUMNS": "80"}).stdout.splitlines()
    heading = next(line for line in lines if "workers" in line)
    assert heading.split() == ["workers", "killed", "again", "messages", "seconds", "speed-up", "transport"]
    assert max(map(len, lines[lines.index(heading) : lines.index(heading) + 5])) <= 80


def test_the_transport_share_is_a_share_and_its_meaning_is_printed(tree: Path) -> None:
    found = demo_json("--source", tree, "--workers", "1")
    assert found["runs"][0]["transport_share"] is None
    assert all(0 <= run["transport_share"] <= 1 for run in found["runs"][1:])
    assert "waiting included" in found["transport_means"]
    assert "every worker process is started and ready" in found["seconds_mean"]
    table = run_demo("--source", tree, "--workers", "1").stdout
    assert found["transport_means"] in " ".join(table.split())
    assert found["seconds_mean"] in " ".join(table.split())


def test_more_workers_than_files_is_no_problem(tree: Path) -> None:
    assert demo_json("--source", tree / "package", "--workers", "4")["ok"] is True


def test_on_one_cpu_there_is_one_worker_and_the_result_is_right(tree: Path) -> None:
    one = {min(os.sched_getaffinity(0))}
    found = demo_json("--source", tree, preexec_fn=lambda: os.sched_setaffinity(0, one))
    assert found["cpus"] == found["runs"][1]["processes"] == 1
    assert found["ok"] is True


def test_a_file_larger_than_the_usual_ring_goes_through_whole(tree: Path) -> None:
    write(tree, {"large.py": b"#" * 3_000_000 + b"\nlarge = 1\n"})
    found = demo_json("--source", tree, "--workers", "2")
    assert (found["ok"], found["failed"]) == (True, {})
    assert found["bytes"] > 3_000_000


def test_files_that_cannot_be_tokenised_are_counted_alike_in_all_runs(tree: Path) -> None:
    write(tree, BAD_FILES)
    found = demo_json("--source", tree, "--workers", "2")
    assert found["ok"] is True
    assert found["files"] == len(GOOD_FILES) + len(BAD_FILES)
    assert sorted(found["failed"]) == sorted(BAD_FILES)
    assert found["failed"]["bad/encoding.py"] == "SyntaxError: unknown encoding: nonsense"
    table = run_demo("--source", tree, "--workers", "2").stdout
    assert f"{len(BAD_FILES)} files could not be read or tokenised" in table
    assert "bad/not_utf8.py: " in table


def test_files_that_cannot_be_read_are_counted_and_never_waited_for(tree: Path) -> None:
    (tree / "dangling.py").symlink_to("nowhere")
    (tree / "directory.py").mkdir()
    os.mkfifo(tree / "fifo.py")
    with (tree / "giant.py").open("wb") as giant:
        giant.truncate(LARGEST_FILE_BYTES + 1)
    found = demo_json("--source", tree, "--workers", "1")
    assert found["files"] == len(GOOD_FILES)
    assert found["failed"] == {
        "dangling.py": "No such file or directory",
        "fifo.py": "not a regular file",
        "giant.py": f"larger than {LARGEST_FILE_BYTES:,} bytes",
    }


def test_a_file_name_that_is_no_text_can_be_printed(tree: Path) -> None:
    (tree / os.fsdecode(b"bad_name_\xff.py")).write_bytes(b"f(")
    done = run_demo("--source", tree, "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bad_name_\\udcff.py" in done.stdout
    assert demo_json("--source", tree, "--workers", "1")["ok"] is True


def test_the_default_source_is_the_standard_library_without_installed_packages() -> None:
    sources = read_tree(standard_library())
    assert {"tokenize.py", "json/decoder.py"} <= set(sources.paths)
    assert not any(part in path for path in sources.paths for part in ("site-packages", "dist-packages", "__pycache__"))


@pytest.mark.parametrize("name", ["missing", "file.txt", "without"])
def test_a_source_without_python_files_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "without" / "__pycache__").mkdir(parents=True)
    (tmp_path / "without" / "__pycache__" / "cached.py").touch()
    done = run_demo("--source", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--source" in done.stderr
    assert str(tmp_path / name) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_source_in_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dangling.py").symlink_to("nowhere")
    with pytest.raises(NoSourcesError, match=r"no \.py file that can be read"):
        read_tree(tmp_path)


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_that_makes_no_sense_is_refused(tree: Path, workers: str) -> None:
    done = run_demo("--source", tree, "--workers", workers)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--workers" in done.stderr


def test_without_a_terminal_there_is_a_table_and_no_progress_bar(tree: Path) -> None:
    done = run_demo("--source", tree, "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "multiprocessing.Queue" in done.stdout
    assert "All runs gave the same result." in done.stdout
    assert "\x1b" not in done.stdout


def test_on_a_terminal_there_is_a_progress_bar_that_goes_away(tree: Path) -> None:
    mine, terminal = pty.openpty()
    arguments = [*DEMO, "--source", str(tree), "--workers", "1"]
    demo = subprocess.Popen(arguments, stdout=terminal, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    shown = b"".join(iter(lambda: read_terminal(mine), b""))
    os.close(mine)
    assert demo.wait() == 0
    hidden, visible = shown.find(b"\x1b[?25l"), shown.rfind(b"\x1b[?25h")  # the cursor, while the bar is there
    assert 0 <= hidden < visible
    assert b"one process" in shown[hidden:visible]
    assert b"All runs gave the same result." in shown[visible:]


def read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_a_wrong_result_ends_with_code_1_and_says_what_differs(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_one(*arguments: Any) -> Outcome:
        outcome = real_run(*arguments)
        kept = [result for result in outcome.results if tree_paths[result["number"]] != "first.py"]
        return outcome._replace(results=kept)

    tree_paths, real_run = read_tree(tree).paths, over_reliable.run
    monkeypatch.setattr(over_reliable, "run", lose_one)
    monkeypatch.setattr(sys, "argv", ["ipc", "demo", "--source", str(tree), "--workers", "1"])
    with pytest.raises(SystemExit) as exit_:
        ipc.cli.main()
    said = capsys.readouterr().out
    assert exit_.value.code == 1
    assert "The result over ipc is not that of one process" in said
    assert "4 files expected, 3 found" in said
    assert "NUMBER: 1 tokens expected, 0 found" in said
    assert "All runs gave the same result" not in said


@pytest.mark.parametrize("transport", [over_reliable, over_queue])
def test_the_results_come_as_records_and_are_those_of_one_process(transport: ModuleType) -> None:
    contents = [*GOOD_FILES.values(), *BAD_FILES.values()]
    outcome = transport.run(contents, 2, lambda: None)
    here = [tally_file(number, content) for number, content in enumerate(contents)]
    there = sorted(outcome.results, key=lambda result: result["number"])
    assert [(result.dtype, result.shape) for result in there] == [(FILE_TALLY, ())] * len(contents)
    assert [result.tobytes() for result in there] == [result.tobytes() for result in here]
    assert [timing.dtype for timing in outcome.timings] == [TIMING] * 2


def test_a_worker_says_that_it_is_ready_then_one_record_per_file_then_its_timing() -> None:
    tasks = iter([(5, b"x = 1\n"), (3, b"f("), None])
    said: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    try:
        work(lambda: next(tasks), said.append)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [record.dtype for record in said] == [READY, FILE_TALLY, FILE_TALLY, TIMING]
    assert said[0]["pid"] == os.getpid()
    assert [int(record["number"]) for record in said[1:3]] == [5, 3]
    assert 0 < said[3]["tokenising_seconds"] <= said[3]["span_seconds"]


def test_a_record_holds_the_longest_result_that_any_file_can_give() -> None:
    names = [letter + "\u00e9" * 300 for letter in "abcdefghijkl"]
    result = tally_file(2**32 - 1, " ".join(names).encode())
    assert result["number"] == 2**32 - 1
    assert result["longest"].tolist() == [name[:200] for name in names[:10]]
    assert result["error"] == ""
    assert merge(["a.py"], [tally_file(0, b"import" + b" x" * 70_000)]).counts["NAME"] == 70_001


def test_an_error_with_text_that_no_encoding_allows_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SyntaxError("\udcff" * 300)

    monkeypatch.setattr("tokenize.tokenize", refuse)
    total = merge(["a.py"], [tally_file(0, b"")])
    assert total.errors == {"a.py": ("SyntaxError: " + "\udcff" * 300)[:200]}
    assert (total.counts, total.longest, total.files) == ({}, [], 1)


def test_differences_name_every_kind_of_difference() -> None:
    paths = ["a.py", "b.py"]
    right = merge(paths, [tally_file(0, b"alpha\n"), tally_file(1, b"f(")])
    assert differences(right, right) == []
    assert differences(right, Tally()) == [
        "2 files expected, 0 found",
        "ENCODING: 1 tokens expected, 0 found",
        "ENDMARKER: 1 tokens expected, 0 found",
        "NAME: 1 tokens expected, 0 found",
        "NEWLINE: 1 tokens expected, 0 found",
        "longest identifiers: ['alpha'] expected, [] found",
        f"b.py: {right.errors['b.py']!r} expected, 'no error' found",
    ]


def test_the_order_of_results_makes_no_difference() -> None:
    paths = [f"{letter}.py" for letter in "abcdef"]
    results = [tally_file(index, f"name_{path * (index % 3)} = {index}\n".encode()) for index, path in enumerate(paths)]
    assert differences(merge(paths, results), merge(paths, reversed(results))) == []


def test_over_a_plain_queue_a_worker_killed_at_work_is_an_error_and_no_process_is_left() -> None:
    before = set(multiprocessing.active_children())
    contents = [b"x = 1\n" * 1000] * 200
    with pytest.raises(WorkerFailedError, match=r"worker \d \(pid \d+\) ended before its work was done: exit code -9"):
        over_queue.run(contents, 2, kill_one_of_the_children_once(before))
    assert set(multiprocessing.active_children()) == before


def test_over_a_reliable_queue_a_worker_killed_by_others_is_replaced() -> None:
    before = set(multiprocessing.active_children())
    contents = [b"x = 1\n" * 1000] * 200
    outcome = over_reliable.run(contents, 2, kill_one_of_the_children_once(before))
    assert sorted(int(result["number"]) for result in outcome.results) == list(range(200))
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("transport", [over_reliable, over_queue])
def test_a_worker_that_raises_is_an_error_and_not_waited_for(
    transport: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transport, "_serve", operator.sub)
    with pytest.raises(WorkerFailedError, match=r"worker 1 .* ended before its work was done: (TypeError|exit code 1)"):
        transport.run([b"x = 1"], 1, lambda: None)
    assert "unsupported operand type" in capfd.readouterr().err


def kill_one_of_the_children_once(spared: set[Any]) -> Callable[[], None]:
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            victim = next(child for child in multiprocessing.active_children() if child not in spared)
            killed.append(victim.pid or 0)
            victim.kill()

    return kill


def test_a_dead_worker_ends_the_demo_with_code_3_and_one_sentence(tree: Path) -> None:
    write(tree, {f"long_{number}.py": b"x = (1, 2, 3)\n" * 20_000 for number in range(4)})
    arguments = [*DEMO, "--source", str(tree), "--workers", "2", "--json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        os.kill(first_worker_of(demo), signal.SIGKILL)
        out, err = demo.communicate()
    assert demo.returncode == 3
    assert "ended before its work was done: exit code -9" in err
    assert "Traceback" not in err
    assert json.loads(out)["ok"] is False
    assert "exit code -9" in json.loads(out)["error"]


def first_worker_of(demo: subprocess.Popen[str]) -> int:
    """Wait until the demo has spawned a worker, and return its pid."""
    while demo.poll() is None:
        for children in Path(f"/proc/{demo.pid}/task").glob("*/children"):
            for pid in read(children).split():
                if b"spawn_main" in read(Path(f"/proc/{pid.decode()}/cmdline")):
                    return int(pid)
    raise AssertionError("the demo ended without a worker")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has gone meanwhile
        return b""
