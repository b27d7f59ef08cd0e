"""What the benchmarks are made of: turns, figures, options, the list of questions.  No process is measured here."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks
from benchmarks import (
    arrays,
    batches,
    figures,
    floor,
    imports,
    latency,
    machine,
    multicast,
    peers,
    plot,
    publishing,
    run,
    throughput,
)
from benchmarks.contest import Contestant, Field, Sample, interleave
from benchmarks.figures import Column, rate
from benchmarks.options import Settings
from benchmarks.plan import Case, Plan, question
from benchmarks.report import Report, table

ROOT = Path(__file__).resolve().parents[2]


# --- turns and figures ----------------------------------------------------------------------------------------------


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


def test_a_ratio_may_hold_two_metrics_against_each_other() -> None:
    def entered(key: str, metrics: dict[str, float]) -> Contestant:
        return Contestant(key, key, "floor", "case", None, lambda: Sample(1, 1.0, metrics, {}))

    report = Report("question", "title", [Column("rate", "rate", rate)], "rate")
    field = Field([entered("over", {"rate": 3, "net": 12}), entered("under", {"rate": 4})])
    rows = report.hold(field, Settings(reps=1))
    report.compare(rows, "over", "under", over_metric="net")
    report.compare(rows, "under", "over", over_metric="net")
    assert [(ratio.label, ratio.value["median"]) for ratio in report.ratios] == [("over / under", 3.0)]


def test_the_plot_leaves_out_who_has_not_the_figure_that_decides() -> None:
    def entered(key: str, metrics: dict[str, float]) -> Contestant:
        return Contestant(key, key, "floor", "case", None, lambda: Sample(1, 1.0, metrics, {}))

    report = Report("arrays", "title", arrays.COLUMNS, arrays.METRIC)
    field = Field([entered("lend", {arrays.RAW: 1, arrays.METRIC: 2}), entered("memcpy", {arrays.RAW: 1})])
    report.hold(field, Settings(reps=1))
    assert {case: [row.contestant.key for row in rows] for case, rows in plot._cases(report).items()} == {
        "case": ["lend"]
    }
    assert table(report)[1] == [["case", "lend", "1", "2", "2..2"], ["case", "memcpy", "1", "", ""]]


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


# --- the questions --------------------------------------------------------------------------------------------------


def test_every_question_is_in_the_list_of_all() -> None:
    names = [found.name for found in pkgutil.iter_modules(benchmarks.__path__) if not found.name.startswith("_")]
    modules = [importlib.import_module(f"benchmarks.{name}") for name in names]
    questions = {module.NAME for module in modules if hasattr(module, "NAME")}
    assert {module.NAME for module in run.QUESTIONS} == questions
    assert {
        "throughput", "batches", "latency", "arrays", "queues", "taking", "multicast", "publishing", "imports", "floor",
    } == questions  # fmt: skip


@pytest.mark.parametrize("asked", [throughput, batches, latency, arrays])
def test_a_question_to_peers_has_two_roles_whose_ends_meet(asked: ModuleType) -> None:
    case = Case("case", 64, 1 << 20)
    found = question(asked.NAME)
    roles = found.roles(case)
    ends = [(wire.link, wire.side) for role in roles for wire in role.wires]
    assert len(roles) == 2
    assert len(ends) == len(set(ends)), "each end is somebody's alone"
    assert {(link, "send") for link, _ in ends} | {(link, "receive") for link, _ in ends} == set(ends)
    assert found.LIMIT > 0


def test_a_plan_survives_the_way_to_the_process_that_measures() -> None:
    case = Case("64 KiB arrays", 65536, 8 * 65536, way="claim")
    plan = Plan("arrays", "ipc_channel", case, 7, 0.5, (0, None), 60.0)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert dataclasses.replace(case, way="send") != case


def test_an_import_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MODULES", {"ours": "ipc.no_such_part"})
    report = imports.run(Settings(reps=1, quick=True))
    assert report.failed() == [
        "import ipc.no_such_part, import: ModuleNotFoundError: No module named 'ipc.no_such_part'"
    ]


def test_an_import_is_timed_in_the_environment_of_its_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(
        "import os, time\nassert os.environ['IPC_PURE_CFFI'] == 'yes'\ntime.sleep(0.02)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("IPC_PURE_CFFI", "yes")
    monkeypatch.setattr(imports, "MODULES", {"ours": "probe"})
    report = imports.run(Settings(reps=1, quick=True))
    assert report.failed() == []
    (row,) = report.rows
    assert row.samples[0].count == 1
    assert row.samples[0].metrics[imports.METRIC] >= 20, "in milliseconds, what the module takes at least"


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "arguments", "complaint"),
    [
        (batches.main, "--size many", "--size: not a size in bytes: 'many' (64, 64KiB, 1MiB)"),
        (throughput.main, "--capacity 1.5MiB", "--capacity: not a size in bytes: '1.5MiB'"),
        (floor.main, "--capacity big", "--capacity: not a size in bytes: 'big'"),
        (latency.main, "--size 64 x", "--size: not a size in bytes: 'x'"),
        (latency.main, "--wait never", "--wait: invalid choice: 'never'"),
        (latency.main, "--pause=-1", "--pause: must be a number of at least 0, not -1"),
        (arrays.main, "--size abc", "--size: not a size in bytes: 'abc'"),
        (arrays.main, "--size 1MiB 100", "--size: arrays of doubles have a multiple of 8 bytes, not 100"),
        (arrays.main, "--size 0", "--size: arrays of doubles have a multiple of 8 bytes, not 0"),
        (arrays.main, "--count few", "--count: must be a number of at least 1, not few"),
        (batches.main, "--reps 0", "--reps: must be a number of at least 1, not 0"),
        (imports.main, "--seconds=-1", "--seconds: must be a number of at least 0, not -1"),
        (imports.main, "--timeout nan", "--timeout: must be a number of at least 0, not nan"),
        (imports.main, "--cpus first", "--cpus: must be numbers with commas, such as 0,1, not first"),
        (imports.main, "--cpus 1000000", "--cpus: we may run on ["),
        (imports.main, "--size 64", "unrecognized arguments: --size 64"),
        (multicast.main, "--size 64 12", "--size: messages have a multiple of 8 bytes, and at least 16"),
        (multicast.main, "--readers 0", "--readers: must be a number of at least 1, not 0"),
        (multicast.main, "--policy lossles", "--policy: invalid choice: 'lossles'"),
        (publishing.main, "--readers=-1", "--readers: must be a number of at least 0, not -1"),
        (run.main, "--only pigeons", "--only: invalid choice: 'pigeons'"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_measured(
    main: Callable[[list[str]], int], arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments.split())
    assert refused.value.code == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert "repetition" not in captured.err + captured.out


@pytest.mark.parametrize("main", [batches.main, arrays.main, imports.main, run.main])
@pytest.mark.parametrize("name", ["carrier_pigeon", "no.such.module"])
def test_a_peer_that_cannot_be_loaded_is_named(name: str, main: Callable[[list[str]], int]) -> None:
    with pytest.raises(SystemExit, match=f"^no such peer: {name}"):
        main(["--peers", "mp_pipe", name])


# --- the floor in C -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_programs_of_the_floor_compile_without_a_warning() -> None:
    programs = sorted((ROOT / "benchmarks" / "floor").glob("*.c"))
    assert {program.source for program in vars(floor).values() if isinstance(program, floor.Program)} <= {
        path.name for path in programs
    }
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", *warnings, "-fsyntax-only", "-Inative", *map(str, programs)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_ring_too_small_for_its_records_is_refused_not_waited_for() -> None:
    field, settings = Field(), Settings(count=3, cpus=machine.pick_cpus())
    with floor.Programs() as programs:
        programs.enter(field, floor.LEND, "too small", settings, 1 << 20)
        programs.enter(field, floor.LEND, "large enough", settings, 4 << 20)
        small, large = field.contestants
        with pytest.raises(RuntimeError, match="is the ring too small"):
            small.measure()
        assert large.measure().count == 3
