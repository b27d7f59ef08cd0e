"""A first use of an installed ipc-rings, run by every Python that is found here: there and back through a child."""

import faulthandler
import importlib
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
    many = [b"%d" % i for i in range(100)]
    to_child.send_many(many)
    assert [from_child.recv(timeout=10) for _ in many] == many
    to_child.send(np.ones((1000, 1000)), timeout=10)  # larger than the channel
    assert from_child.recv(timeout=10).sum() == 1_000_000

    to_child.close()
    worker.join(timeout=10)
    assert worker.exitcode == 0, f"the child ended with {worker.exitcode}"
    accelerated = importlib.import_module("ipc._core.native").fast is not None
    print("ipc-rings", version("ipc-rings"), "works", "with its accelerator" if accelerated else "over cffi alone")


if __name__ == "__main__":
    main()
