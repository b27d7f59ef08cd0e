"""One publisher, many subscribers, one copy of each message in memory.

    frames = ipc.Multicast(policy="lossy")          # give it to children as a Process argument, or fork
    camera = frames.publisher()                     # one at a time
    viewer = frames.subscribe(on_lap="latest")      # any number, up to 1,024; when overtaken: on at the newest

For a stream that one receiver takes, a channel is faster; for work that is shared out, take a queue.
"""

from __future__ import annotations

from ipc._core.multicast import Multicast
from ipc._core.publisher import Publisher
from ipc._core.subscriber import MulticastEnvelope, Subscriber

__all__ = ["Multicast", "MulticastEnvelope", "Publisher", "Subscriber"]
