"""Claims of a multicast's publisher, one while another is lent."""

from __future__ import annotations

import pytest

import ipc


def test_a_claim_that_is_refused_leaves_the_one_that_is_lent_its_topic() -> None:
    """Found by fuzzing: the other's topic was published, and what was claimed stood elsewhere."""
    with ipc.Multicast[bytes]() as multicast, multicast.publisher() as publisher, multicast.subscribe() as subscriber:
        with publisher.claim(nbytes=5, topic="first") as memory:
            memory[:] = b"12345"
            with pytest.raises(ipc.BusyError):
                publisher.claim(nbytes=5, topic="a name that needs more room than the other's").__enter__()
        assert subscriber.recv_envelope() == (b"12345", 0, 0, "first")
