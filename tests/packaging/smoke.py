"""A first use of an installed ipc-rings, run by every Python that is found here: there and back through a child."""

import faulthandler
import sysconfig
from importlib.metadata import version
from pathlib import Path

import numpy as np

import ipc


def echo(inbox: ipc.Receiver, outbox: ipc.Sender) -> None:
    for message in inbox:
        outbox.send(message)


def main() -> None:
    faulthandler.dump_traceback_later(60, exit=True)  # a hang says where
    installed = Path(sysconfig.get_path("platlib"))
    assert Path(ipc.__file__).is_relative_to(installed), f"{ipc.__file__} is not the installed package"

    to_child, inbox = ipc.channel()
    outbox, from_child = ipc.channel()
    worker = ipc.spawn(echo, inbox, outbox)

    for message in (b"x", b"", "text", {"key": [1, 2.5, None]}):
        to_child.send(message, timeout=10)
        assert from_child.recv(timeout=10) == message
    to_child.send(np.arange(1000.0), timeout=10)
    assert np.array_equal(from_child.recv(timeout=10), np.arange(1000.0))

    to_child.close()
    worker.join(timeout=10)
    assert worker.exitcode == 0, f"the child ended with {worker.exitcode}"
    print("ipc-rings", version("ipc-rings"), "works")


if __name__ == "__main__":
    main()
