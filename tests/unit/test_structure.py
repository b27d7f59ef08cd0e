"""The house keeps its order: who imports whom, where state may live, what is public, and what is never called."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ipc
from ipc._core.native import ffi, lib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ipc"
NATIVE = ROOT / "native"
CORE = sorted(NATIVE.glob("*.c"))

# From the ground up; a module may import from those before it, and from none after it.
STOREYS = [
    "ipc._core._native",
    "ipc._core.native",
    "ipc._core.segment",
    "ipc._core.ring",
    "ipc._core.sender",
    "ipc._core.receiver",
    "ipc.channel",
    "ipc.workers",
    "ipc",
    "ipc.cli",
]


# --- imports ------------------------------------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Every module of the package by name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def for_type_checkers_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not for_type_checkers_only(child):
            yield child
            yield from nodes_that_run(child)


def imports() -> dict[str, set[tuple[str, str]]]:
    """What each module imports of ours, as pairs (module, name; "" for the module as such)."""
    ours = modules()
    found: dict[str, set[tuple[str, str]]] = {}
    for module, path in ours.items():
        pairs = found.setdefault(module, set())
        for node in nodes_that_run(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                pairs |= {(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "ipc"}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively; write the whole name"
                if node.module is not None and node.module.split(".")[0] == "ipc":
                    for alias in node.names:
                        inner = f"{node.module}.{alias.name}"
                        pairs.add((inner, "") if inner in ours else (node.module, alias.name))
    return found


def test_imports_go_one_way() -> None:
    graph = {module: {target for target, _ in pairs} for module, pairs in imports().items()}
    for targets in graph.values():
        targets.discard("ipc._core")
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_storey_stands_on_those_below_it_only() -> None:
    graph = {module: {target for target, _ in pairs} for module, pairs in imports().items()}
    everything_below = {module: reachable(module, graph) for module in STOREYS if module in graph}
    for height, module in enumerate(STOREYS):
        above = everything_below.get(module, set()) & set(STOREYS[height + 1 :])
        assert not above, f"{module} must not need {above}"
    assert {"ipc._core.segment", "ipc._core.transfer"} <= everything_below["ipc.channel"]
    assert "ipc._core.segment" in everything_below["ipc._core.ring"]


def reachable(module: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for target in graph.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_the_core_knows_nothing_of_what_stands_on_it() -> None:
    for module, pairs in imports().items():
        if module.startswith("ipc._core"):
            outside = {target for target, _ in pairs if not target.startswith("ipc._core")}
            assert outside <= {"ipc", "ipc.errors"}, module
            assert all(name == "errors" for target, name in pairs if target == "ipc"), module


def test_errors_stand_on_nothing() -> None:
    assert imports()["ipc.errors"] == set()
    assert imports()["ipc._version"] == set()


def test_one_module_imports_the_extension() -> None:
    assert {module for module, pairs in imports().items() if ("ipc._core._native", "ffi") in pairs} == {
        "ipc._core.native"
    }
    for module, path in modules().items():
        if module != "ipc._core.native":
            assert "_native" not in path.read_text(encoding="utf-8"), module


def test_only_the_core_calls_into_native_code() -> None:
    callers = {
        module
        for module, pairs in imports().items()
        for target, name in pairs
        if target == "ipc._core.native" and name in {"lib", "ffi"}
    }
    assert {module for module in callers if not module.startswith("ipc._core.")} == set()


def test_importing_ipc_imports_neither_numpy_nor_the_command_line(python: Callable[..., Any]) -> None:
    code = (
        "import sys, ipc\n"
        "tx, rx = ipc.channel(); tx.send([1]); rx.recv(); tx.close(); rx.close()\n"
        "print(sorted({'numpy', 'typer', 'rich', 'matplotlib', 'psutil', 'asyncio'} & set(sys.modules)))\n"
        "print([name for name in sys.modules if name.startswith(('ipc.cli', 'ipc.demo', 'ipc._bench'))])\n"
    )
    assert python(code).stdout == "[]\n[]\n"


def test_importing_ipc_starts_nothing(python: Callable[..., Any]) -> None:
    code = (
        "import os, sys, signal, threading\n"
        "before = [signal.getsignal(number) for number in signal.valid_signals()]\n"
        "fds = len(os.listdir('/proc/self/fd'))\n"
        "import ipc\n"
        "print(threading.active_count(), len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd')) - fds)\n"
        "print(before == [signal.getsignal(number) for number in signal.valid_signals()])\n"
        "print('multiprocessing.resource_tracker' in sys.modules)\n"
    )
    assert python(code).stdout.splitlines()[:2] == ["1 1 0", "True"]


# --- native code --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every file of the core, compiled by itself."""
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    directory = tmp_path_factory.mktemp("objects")
    made = {}
    for source in CORE:
        made[source.name] = directory / f"{source.stem}.o"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fno-pie", "-fno-pic", "-I", str(NATIVE)]
        subprocess.run(["gcc", *flags, "-c", str(source), "-o", str(made[source.name])], check=True)
    return made


def symbols(path: Path, *options: str) -> list[tuple[str, str]]:
    """The letters and names that nm shows."""
    shown = subprocess.run(["nm", *options, str(path)], check=True, capture_output=True, text=True).stdout
    return [(words[-2], words[-1]) for line in shown.splitlines() if len(words := line.split()) >= 2]


def test_variables_live_in_one_file(objects: dict[str, Path]) -> None:
    variables = {
        name: found
        for name, path in objects.items()
        if (found := [symbol for letter, symbol in symbols(path) if letter in "bBdDcCsSgG"])
    }
    assert set(variables) == {"registry.c"}, variables
    assert "ipcr_fork_generation" in variables["registry.c"]


def test_native_symbols_have_our_prefix(objects: dict[str, Path]) -> None:
    for path in objects.values():
        strangers = [symbol for letter, symbol in symbols(path) if letter in "TDBRC" and not symbol.startswith("ipcr_")]
        assert strangers == []


def test_nothing_asks_for_the_time_of_day(objects: dict[str, Path]) -> None:
    wall_clocks = {
        "time", "gettimeofday", "timespec_get", "ftime", "pthread_cond_timedwait", "pthread_mutex_timedlock",
        "sem_timedwait", "mq_timedreceive", "mq_timedsend", "settimeofday", "clock_settime",
    }  # fmt: skip
    for path in objects.values():
        needed = {symbol.split("@")[0] for _, symbol in symbols(path, "--undefined-only")}
        assert not needed & wall_clocks
    for source in NATIVE.glob("*.[ch]"):
        text = re.sub(r"/\*.*?\*/", "", source.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert "CLOCK_REALTIME" not in text, source.name
        assert not re.search(r"FUTEX_\w*CLOCK_REALTIME|FUTEX_PRIVATE|\bFUTEX_WAIT\b", text), source.name
        clocks = set(re.findall(r"CLOCK_\w+", text))
        assert clocks <= {"CLOCK_MONOTONIC"}, source.name


def test_no_python_of_ours_waits_by_the_time_of_day() -> None:
    for module, path in modules().items():
        if module == "ipc.cli" or module.startswith("ipc.demo"):
            continue  # ages of files, for people
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}, (
                    module
                )
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {"time", "time_ns"} & {alias.name for alias in node.names}, module


def test_one_file_includes_the_atomics_and_one_makes_system_calls() -> None:
    for source in NATIVE.glob("*.[ch]"):
        text = source.read_text(encoding="utf-8")
        if source.name != "atomics.h":
            assert "#include <stdatomic.h>" not in text, source.name
        if source.name != "os.c":
            assert not re.search(r"#include <(fcntl|unistd|poll|sched|linux/\w+|sys/\w+)\.h>", text) or re.findall(
                r"#include <(?:fcntl|unistd|poll|sched|linux/\w+|sys/\w+)\.h>", text
            ) == ["#include <sys/types.h>"], source.name


def declared() -> tuple[set[str], set[str], set[str]]:
    """The constants, functions and structs of cdef.h."""
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / "cdef.h").read_text(encoding="utf-8"), flags=re.DOTALL)
    constants = set(re.findall(r"^#define (\w+) ", text, flags=re.MULTILINE))
    functions = set(re.findall(r"\b(ipcr_\w+)\(", text))
    structs = set(re.findall(r"^struct (\w+)", text, flags=re.MULTILINE))
    return constants, functions, structs


def test_every_declared_name_is_in_the_extension_and_no_other() -> None:
    constants, functions, structs = declared()
    assert constants
    assert functions
    for name in constants:
        assert isinstance(getattr(lib, name), int), name
    for name in functions:
        assert callable(getattr(lib, name)), name
    for name in structs:
        assert ffi.typeof(f"struct {name} *").kind == "pointer"
    assert set(dir(lib)) == constants | functions


def test_statuses_are_distinct() -> None:
    text = (NATIVE / "status.h").read_text(encoding="utf-8")
    numbers = {name: int(value) for name, value in re.findall(r"^    (IPCR_\w+) = (-?\d+)", text, flags=re.MULTILINE)}
    assert len(set(numbers.values())) == len(numbers)
    for name, value in numbers.items():
        assert getattr(lib, name) == value, f"the extension is older than status.h: {name}"


def test_the_geometry_in_the_tests_is_the_one_in_format_h() -> None:
    text = (NATIVE / "format.h").read_text(encoding="utf-8")
    for offset, what in ((256, "at"), (512, "signals")):
        assert f"offsetof(struct ipcr_header, {what}) == {offset}" in text


# --- the public face ----------------------------------------------------------------------------------------------


def public_names() -> set[str]:
    return {
        name
        for name, value in vars(ipc).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } | {"__version__"}  # fmt: skip


def test_all_is_what_is_there_and_nothing_else() -> None:
    assert set(ipc.__all__) == public_names()
    assert len(set(ipc.__all__)) == len(ipc.__all__)
    core = """
        Ring channel Sender Receiver spawn Worker stats Stats ls rm gc
        IpcError ClosedError PeerDiedError EndOfChannel TimeoutError BusyError ForkedHandleError MessageTooLargeError
        CorruptSegmentError IncompatibleFormatError UntrustedSegmentError SegmentExistsError SegmentNotFoundError
        OutOfSharedMemoryError RefusedEncodingError HandOverError
    """
    assert set(core.split()) <= set(ipc.__all__)


def test_every_module_says_what_it_exports() -> None:
    for module, path in modules().items():
        names = [
            ast.literal_eval(node.value)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        ]
        if names:
            assert len(set(names[0])) == len(names[0]), module
        else:
            assert path.name in {"__init__.py", "__main__.py", "_version.py"} or module.startswith("ipc.demo"), module


@pytest.mark.parametrize("name", [name for name in ipc.__all__ if name != "__version__"])
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(ipc, name)
    assert own_doc(thing), name
    if inspect.isclass(thing) and not issubclass(thing, BaseException):
        for attribute, value in members(thing):
            assert own_doc(value), f"{name}.{attribute}"


def own_doc(thing: Any) -> str:
    return (thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, those of our own base classes included."""
    for base in kind.__mro__:
        if base.__module__.split(".")[0] == "ipc":
            for attribute, value in vars(base).items():
                if not attribute.startswith("_") and (callable(value) or isinstance(value, (property, classmethod))):
                    yield attribute, value


@pytest.mark.parametrize("name", [name for name in ipc.__all__ if callable(getattr(ipc, name))])
def test_every_public_function_and_method_is_annotated(name: str) -> None:
    thing = getattr(ipc, name)
    functions = dict(members(thing)) if inspect.isclass(thing) else {name: thing}
    for attribute, value in functions.items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if inspect.isfunction(function):
            assert "return" in function.__annotations__, f"{name}.{attribute}"


def test_options_are_keyword_only() -> None:
    allowed = {"name", "obj", "objs", "data", "messages", "timeout", "default", "max", "nbytes", "fn", "args", "kwargs"}
    allowed |= {"shape", "dtype"}
    for name in ("channel", "spawn", "stats", "rm", "Ring", "Sender", "Receiver", "RingWriter", "RingReader"):
        thing = getattr(ipc, name)
        functions = dict(members(thing)) if inspect.isclass(thing) else {name: thing}
        for attribute, value in functions.items():
            function = getattr(value, "__func__", value)
            if inspect.isfunction(function):
                for parameter in list(inspect.signature(function).parameters.values()):
                    if parameter.name not in {"self", "cls"} | allowed:
                        assert parameter.kind is parameter.KEYWORD_ONLY, f"{name}.{attribute}({parameter.name})"


def test_the_version_is_that_of_the_package_and_the_package_is_typed() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z.]+\d+)?", ipc.__version__)
    assert (PACKAGE / "py.typed").exists()
    assert sys.modules["ipc"] is ipc


def test_rooms_have_a_sign_on_the_door() -> None:
    for module, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), module
    for source in NATIVE.glob("*.[ch]"):
        assert source.read_text(encoding="utf-8").startswith("/* "), source.name
