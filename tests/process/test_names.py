"""Names between processes: who may remove one, and what is seen of a segment that is being made."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import Forked, Python, pipe, receive

ATTACH_AND_EXIT = """
import sys
import ipc
name, how, ending = sys.argv[1:]
end = getattr(ipc, how).attach(name)
if ending == "use" and how == "Receiver":
    assert end.recv() in (b"one", b"two", b"three")
if ending == "os._exit":
    import os
    os._exit(0)
if ending == "close":
    end.close()
"""

HOLD = """
import sys
import ipc
tx, rx = ipc.channel(sys.argv[1])
if sys.argv[2] == "in use":
    tx.send(b"old")
    rx.recv()
print("created", flush=True)
sys.stdin.readline()
tx.close()
rx.close()
"""


def path_of(name: str) -> Path:
    return Path(os.environ.get("IPC_DIR", "/dev/shm"), name)


@pytest.mark.parametrize("how", ["Sender", "Receiver"])
@pytest.mark.parametrize("ending", ["close", "return", "os._exit"])
def test_processes_that_attach_and_end_leave_the_segment_where_it_is(how: str, ending: str, name: str) -> None:
    tx, rx = ipc.channel(name)
    inode = path_of(name).stat().st_ino
    with tx, rx:
        for _ in range(3):
            subprocess.run([sys.executable, "-c", ATTACH_AND_EXIT, name, how, ending], check=True)
            assert path_of(name).stat().st_ino == inode
        tx.send(b"still here")
        assert rx.recv() == b"still here"


def test_a_receiver_that_ended_normally_has_no_successor(name: str) -> None:
    tx, rx = ipc.channel(name)
    with tx, rx:
        for message in (b"one", b"two", b"three"):
            tx.send(message)
        subprocess.run([sys.executable, "-c", ATTACH_AND_EXIT, name, "Receiver", "use"], check=True)
        with pytest.raises(ipc.EndOfChannel):  # it ended normally, which closes the end for good
            rx.recv()
    ipc.rm(name)  # two are unread


def test_the_name_stays_while_anything_is_unread_and_goes_with_the_last_one_otherwise(name: str) -> None:
    tx, rx = ipc.channel(name)
    tx.send(b"unread")
    tx.close()
    rx.close()
    assert path_of(name).exists()
    subprocess.run([sys.executable, "-c", ATTACH_AND_EXIT, name, "Sender", "close"], check=True)
    assert path_of(name).exists()
    with ipc.Receiver.attach(name) as again:
        assert again.recv() == b"unread"
    assert not path_of(name).exists()


@pytest.mark.parametrize("state", ["in use", "unused"])
@pytest.mark.parametrize("how", ["rm", "unlink"])
def test_the_late_exit_of_an_old_generation_leaves_the_new_name_alone(how: str, state: str, name: str) -> None:
    with Python(HOLD, name, state) as old:
        assert old.hear() == "created"
        if how == "rm":
            ipc.rm(name)
        else:
            with ipc.Sender.attach(name) as end:
                end.unlink()
        tx, rx = ipc.channel(name)
        with tx, rx:
            inode = path_of(name).stat().st_ino
            assert old.end() == 0
            assert path_of(name).stat().st_ino == inode
            subprocess.run([sys.executable, "-c", ATTACH_AND_EXIT, name, "Receiver", "close"], check=True)
            assert path_of(name).stat().st_ino == inode


def test_a_new_segment_replaces_one_whose_users_died(name: str) -> None:
    def orphan() -> None:
        tx, _ = ipc.channel(name)
        tx.send(b"old")
        os._exit(0)

    with Forked(orphan) as forked:
        forked.join()
    tx, rx = ipc.channel(name)
    with tx, rx:
        tx.send(b"new")
        assert rx.recv() == b"new"


def test_a_failed_attach_for_lack_of_address_space_leaves_the_name(name: str) -> None:
    tx, rx = ipc.channel(name, capacity="64MiB")
    with tx, rx:

        def attach() -> None:
            used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
            soft = used + 32 * 2**20  # far less than the mapping wants
            resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))
            for _ in range(3):
                with pytest.raises(ipc.OutOfSharedMemoryError):
                    ipc.Receiver.attach(name)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            ipc.Receiver.attach(name).close()

        inode = path_of(name).stat().st_ino
        with Forked(attach) as forked:
            assert forked.join() == 0
        assert path_of(name).stat().st_ino == inode
        tx.send(b"as before")
        assert rx.recv() == b"as before"


def test_a_failed_attach_for_lack_of_descriptors_leaves_the_name(name: str) -> None:
    tx, rx = ipc.channel(name)
    with tx, rx:

        def attach() -> None:
            highest = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())
            for room in range(highest + 4):
                resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
                with suppress(OSError):
                    ipc.Receiver.attach(name).close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            ipc.Receiver.attach(name).close()

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        inode = path_of(name).stat().st_ino
        with Forked(attach) as forked:
            assert forked.join() == 0
        assert path_of(name).stat().st_ino == inode
        tx.send(b"as before")
        assert rx.recv() == b"as before"


def test_a_handle_put_into_a_queue_is_refused_and_the_queue_goes_on(name: str) -> None:
    tx, rx = ipc.channel(name)
    queue: Any = multiprocessing.SimpleQueue()
    with tx, rx:
        with pytest.raises(ipc.HandOverError, match="give it a name= and attach"):
            queue.put(tx)
        queue.put(name)
        with ipc.Sender.attach(queue.get()) as second:
            second.send(b"by name")
            assert rx.recv() == b"by name"
    queue.close()


def test_a_segment_is_present_for_as_long_as_any_process_has_a_handle(name: str) -> None:
    tx, rx = ipc.channel(name)
    with pipe() as (ours, told):

        def hold() -> None:
            with tx, rx, ipc.Receiver.attach(name):  # fork gave it copies of ours as well
                roles.wait_for(told)

        with Forked(hold) as forked:
            receive(ours)
            tx.close()
            rx.close()
            with pytest.raises(ipc.SegmentExistsError):
                ipc.channel(name)
            ours.send("go")
            assert forked.join() == 0
    assert not path_of(name).exists()
