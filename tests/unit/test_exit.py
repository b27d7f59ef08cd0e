"""A process may end in any state: nothing is printed, nobody hangs, and the other side hears the right thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ipc

PAGE = 4096

# The states in which interpreters end below.  Each is code; every process starts with `import ipc`.
STATES = {
    "nothing": "",
    "unused channel": "tx, rx = ipc.channel()",
    "used channel": "tx, rx = ipc.channel(); tx.send(1); tx.send([2]); rx.recv()",
    "unused ring": "ring = ipc.Ring.create()",
    "ring ends only": (
        "ring = ipc.Ring.create(); writer, reader = ring.writer(), ring.reader(); writer.write(b'x'); del ring"
    ),
    "named, used": "tx, rx = ipc.channel(name); tx.send(1); rx.recv()",
    "closed": "tx, rx = ipc.channel(name); tx.send(1); rx.recv(); tx.close(); rx.close()",
    "unlinked": "tx, rx = ipc.channel(name); tx.send(1); tx.unlink()",
    "in a cycle": "tx, rx = ipc.channel(); tx.send(1); cycle = [tx]; cycle.append(cycle); del tx",
    "in a module": (
        "import sys, types; m = types.ModuleType('m'); m.ends = ipc.channel(); m.ends[0].send(1)\nsys.modules['m'] = m"
    ),
    "held by a builtin": "import builtins; builtins.kept = ipc.channel(); builtins.kept[0].send(1)",
    "in a default argument": "def f(ends=ipc.channel()): ends[0].send(1)\nf()",
    "mid-claim": "ring = ipc.Ring.create(); memory = ring.writer().claim(100).__enter__(); memory[0] = 1",
    "mid-claim in with": "ring = ipc.Ring.create()\nwith ring.writer().claim(100) as memory: raise SystemExit",
    "mid-peek": "ring = ipc.Ring.create(); ring.writer().write(b'x'); memory = ring.reader().peek().__enter__()",
    "array kept": (
        "ring = ipc.Ring.create(); ring.writer().write(b'x' * 8)\n"
        "with ring.reader().peek() as memory:\n"
        "    kept = [bytes(memory)]\n    view = memory.cast('B')\n    view.release()"
    ),
    "iterator": "tx, rx = ipc.channel(); tx.send(1); it = iter(rx); next(it)",
    "ring iterator": "ring = ipc.Ring.create(); ring.writer().write(b'1'); it = iter(ring.reader()); next(it)",
    "stats kept": "tx, rx = ipc.channel(name); kept = (tx.stats(), ipc.stats(name), ipc.ls())",
    "thread blocked": (
        "import threading\n"
        "tx, rx = ipc.channel(spin=0)\n"
        "started = threading.Event()\n"
        "def wait():\n    started.set()\n    try: rx.recv()\n    except (ipc.ClosedError, ipc.EndOfChannel): pass\n"
        "threading.Thread(target=wait, daemon=True).start(); started.wait()"
    ),
    "thread streaming": (
        "import threading\n"
        "tx, rx = ipc.channel(capacity=4096)\n"
        "def stream():\n    try:\n        while True: tx.send(b'x')\n"
        "    except (ipc.ClosedError, ipc.EndOfChannel): pass\n"
        "threading.Thread(target=stream, daemon=True).start(); rx.recv(); rx.recv()"
    ),
    "atexit of the user": (
        "import atexit\ntx, rx = ipc.channel(name)\n"
        "def last():\n    tx.send('last'); assert rx.recv() == 'last'; tx.close(); rx.close()\natexit.register(last)"
    ),
    "worker waiting for us": "tx, rx = ipc.channel(); worker = ipc.spawn(list, rx)",
    "worker served by us": "tx, rx = ipc.channel(); worker = ipc.spawn(list, rx); tx.send(1)",
    "forked worker": "tx, rx = ipc.channel(); worker = ipc.spawn(list, rx, context='fork'); tx.send(1)",
    "worker forgotten": "tx, rx = ipc.channel(); tx.send(1); ipc.spawn(list, rx)",
    "worker stopped": "import signal\nworker = ipc.spawn(signal.pause); worker.kill(); worker.join()",
    "worker ended": "import os\nworker = ipc.spawn(os.getpid); worker.join(); assert worker.exitcode == 0",
    "process of multiprocessing": (
        "import multiprocessing, time\ntx, rx = ipc.channel()\n"
        "p = multiprocessing.get_context('fork').Process(target=print, args=('',), daemon=True)\n"
        "import os; pid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)"
    ),
    "forked child ends normally": (
        "import os\ntx, rx = ipc.channel(); tx.send(1)\npid = os.fork()\n"
        "if pid:\n    assert os.waitpid(pid, 0)[1] == 0\n"
        "    assert rx.recv() == 1\n    tx.send(2); assert rx.recv() == 2"
    ),
    "all descriptors closed": "import os\ntx, rx = ipc.channel(); tx.send(1); os.closerange(3, 256)",
    "directory gone": (
        "import os, shutil\ntx, rx = ipc.channel(name); tx.send(1); rx.recv()\nshutil.rmtree(os.environ['IPC_DIR'])\n"
        "os.mkdir(os.environ['IPC_DIR'])"
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("ending", ["end", "exit"])
def test_nothing_is_printed_when_the_interpreter_ends(
    state: str, ending: str, ipc_dir: object, python: Callable[..., Any]
) -> None:
    code = f"import ipc\nname = 'named'\n{STATES[state]}\n" + ("" if ending == "end" else "import sys; sys.exit(0)\n")
    warn = "import warnings; warnings.simplefilter('default')\n"  # forgotten at the very end is no mistake
    done = python(warn + code, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_test_of_an_ending_really_has_its_state(ipc_dir: object, python: Callable[..., Any]) -> None:
    done = python("import ipc, sys\ntx, rx = ipc.channel()\ntx.send(1)\nraise SystemExit('reached')", check=False)
    assert (done.returncode, done.stderr) == (1, "reached\n")


@pytest.mark.parametrize("error", ["KeyError('mine')", "KeyboardInterrupt()"])
def test_an_error_that_ends_a_process_is_the_only_thing_printed(
    error: str, ipc_dir: object, python: Callable[..., Any]
) -> None:
    code = f"import ipc\nring = ipc.Ring.create('named')\nwith ring.writer().claim(10) as memory: raise {error}"
    done = python(code, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("Traceback")
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1].startswith(error.split("(", maxsplit=1)[0])


def test_a_process_that_ends_closes_its_ends_cleanly(name: str, python: Callable[..., Any]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    tx.close()
    with rx:
        python("import sys, ipc; tx = ipc.Sender.attach(sys.argv[1]); tx.send('last words')", name)
        assert list(rx) == ["last words"]


def test_a_process_that_ends_by_an_error_closes_its_ends_cleanly_too(name: str, python: Callable[..., Any]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    tx.close()
    with rx:
        code = "import sys, ipc; tx = ipc.Sender.attach(sys.argv[1]); tx.send('last words'); raise KeyError"
        assert python(code, name, check=False).returncode == 1
        assert list(rx) == ["last words"]


def test_a_claim_that_was_open_at_the_end_of_its_process_is_not_sent(name: str, python: Callable[..., Any]) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        python(
            "import sys, ipc; writer = ipc.Ring.attach(sys.argv[1]).writer(); writer.write(b'before')\n"
            "memory = writer.claim(100).__enter__(); memory[:] = b'x' * 100",
            name,
        )
        assert ring.reader().read() == b"before"
        with pytest.raises(ipc.EndOfChannel):
            ring.reader().read(60)


def test_a_peek_that_was_open_at_the_end_of_its_process_was_not_taken(name: str, python: Callable[..., Any]) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        ring.writer().write(b"message")
        python("import sys, ipc; r = ipc.Ring.attach(sys.argv[1]).reader(); memory = r.peek().__enter__()", name)
        assert ring.stats().depth == 1
        ring.unlink()  # its reader is closed: nobody will read what is there


def test_a_name_that_a_process_made_goes_with_it(ipc_dir: Any, python: Callable[..., Any]) -> None:
    python("import ipc; ends = ipc.channel('mine'); ring = ipc.Ring.create('mine-too')")
    assert list(ipc_dir.iterdir()) == []


def test_what_was_unread_at_the_end_of_a_process_stays(name: str, python: Callable[..., Any]) -> None:
    python("import sys, ipc; tx, rx = ipc.channel(sys.argv[1]); tx.send('unread')", name)
    with ipc.Receiver.attach(name) as rx:
        assert list(rx) == ["unread"]


def test_a_used_end_that_is_dropped_before_the_end_warns_once(python: Callable[..., Any]) -> None:
    code = "import ipc\ntx, rx = ipc.channel()\ntx.send(1)\ntx = None\n"
    done = python("import warnings; warnings.simplefilter('default')\n" + code)
    assert done.stderr.count("ResourceWarning: sender of channel was never closed") == 1
    assert done.stdout == ""
