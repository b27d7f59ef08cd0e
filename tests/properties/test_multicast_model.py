"""A multicast against a simple model: hypothesis chooses what a publisher and its subscribers do; each message, each
number and each loss must be the model's.

The model is a list of messages, and for each subscriber the number of the next one.  It knows where messages stand, so
it can tell when there must be room and when there can't be; how many the publisher gives up at once it leaves to it,
within bounds, and takes `oldest` from the statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ipc

PAGE = 4096
ENTRIES = PAGE // 128
AT_ONCE = ENTRIES // 16  # messages that `oldest` may move on by without need
SLACK = 56  # bytes that may be between two messages, so that what is claimed is aligned
TOPICS = (None, "a", "b", "", "a long name of a topic")

sizes = st.one_of(st.integers(0, 100), st.integers(0, 100), st.integers(0, PAGE + 100))
topics = st.sampled_from(TOPICS)
which = st.integers(0, 10**6)


def padded(length: int) -> int:
    return (length + 7) // 8 * 8


@dataclass
class Message:
    content: bytes
    topic: str | None
    position: int
    """Of its topic's name, in bytes since the first message."""


@dataclass
class Reader:
    end: Any
    number: int
    next: int
    topics: tuple[str, ...] | None
    lossy: bool
    to_latest: bool
    observer: bool
    late: bool
    """It began behind the newest: the publisher may not know before it looks for room how far behind."""
    evicted: bool = False
    lost: int = 0
    told: int = 0
    """Of those that were lost, how many it was told of with a message."""
    received: int = 0

    def wants(self, message: Message) -> bool:
        return self.topics is None or message.topic in self.topics


@dataclass
class Taken:
    sequence: int
    message: Message
    lost: int


@dataclass
class Model:
    """What was published, and who reads."""

    max_lag: int
    messages: list[Message] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    end: int = 0
    """Where the last message ends, in bytes since the first."""
    oldest: int = 0

    def place(self, size: int, topic: str | None, alignment: int) -> tuple[int, int]:
        """Where a message begins and ends."""
        name = padded(len((topic or "").encode()))
        payload = (self.end + name + alignment - 1) // alignment * alignment
        return payload - name, payload + padded(size)

    def append(self, content: bytes, topic: str | None, alignment: int) -> None:
        begin, self.end = self.place(len(content), topic, alignment)
        self.messages.append(Message(content, topic, begin))

    def gating(self) -> list[Reader]:
        return [one for one in self.readers if not one.observer and not one.evicted]

    def may_keep(self, first: int, end: int, after: int, slack: int = 0) -> bool:
        """Whether messages from `first` to just before `after` can be there at once, if the last one ends at `end`."""
        begin = self.messages[first].position if first < len(self.messages) else end
        return end - begin + slack <= PAGE and after - first <= ENTRIES

    def is_in_the_way(self, reader: Reader, end: int, after: int, slack: int = 0) -> bool:
        """Of a message that ends there, and has the number before `after`."""
        is_too_late = self.max_lag != 0 and after - reader.next > self.max_lag and not (reader.late and slack == 0)
        return is_too_late or not self.may_keep(reader.next, end, after, slack)

    def take(self, reader: Reader) -> Taken | None:
        """The next message of a reader, if there is one."""
        while reader.next < len(self.messages):
            if reader.lossy and reader.next < self.oldest:
                newest = len(self.messages) - 1
                to = max(newest, self.oldest) if reader.to_latest else self.oldest
                reader.lost += to - reader.next
                reader.next = to
                continue
            message = self.messages[reader.next]
            reader.next += 1
            if reader.wants(message):
                lost, reader.told = reader.lost - reader.told, reader.lost
                reader.received += 1
                return Taken(reader.next - 1, message, lost)
        return None

    def take_many(self, reader: Reader, most: int) -> list[Taken]:
        """As many as go into a batch of a page."""
        taken: list[Taken] = []
        room = PAGE
        while len(taken) < most:
            ahead = replace(reader)
            one = self.take(ahead)
            if one is None or len(one.message.content) > room:
                break
            room -= len(one.message.content)
            taken.append(one)
            vars(reader).update(vars(ahead))
        if not taken:  # those of other topics are passed over
            self.take(reader)
        return taken


class MulticastMachine(RuleBasedStateMachine):
    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.multicast = ipc.Multicast[Any](capacity=PAGE, spin=0, **options)
        self.publisher: ipc.Publisher[Any] | None = self.multicast.publisher()
        self.lossy = options.get("policy") == "lossy"
        self.evicts = options.get("on_laggard") == "evict"
        self.model = Model(options.get("max_lag", 0))
        self.number = 0

    def teardown(self) -> None:
        self.multicast.close()

    # --- publishing

    def next_content(self, size: int) -> bytes:
        self.number += 1
        return (b"%d:" % self.number).ljust(size, b"%d" % (self.number % 10))

    def went(self, contents: list[bytes], topic: str | None, alignment: int) -> None:
        """These were published."""
        begin = self.model.oldest
        for content in contents:
            self.model.append(content, topic, alignment)
        self.gave_up(begin, self.model.end, len(self.model.messages))

    def gave_up(self, before: int, end: int, after: int) -> None:
        """Room was made up to `end` for all messages before `after`; who was in the way is evicted, and nobody else."""
        stats = self.multicast.stats()
        evicted = {one.number for one in stats.subscribers if one.state == "evicted"}
        if not self.lossy:
            for reader in self.model.gating():
                if reader.number in evicted:
                    assert self.evicts
                    assert self.model.is_in_the_way(reader, end, after, SLACK)
                    reader.evicted = True
                else:
                    assert not self.model.is_in_the_way(reader, end, after)
        assert before <= stats.oldest <= after
        assert self.model.may_keep(stats.oldest, end, after)
        if stats.oldest > before:  # because it had to
            assert not self.model.may_keep(max(stats.oldest - AT_ONCE, 0), end, after, SLACK)
        self.model.oldest = stats.oldest

    def was_refused(self, size: int, topic: str | None, alignment: int) -> None:
        """Somebody is in the way, for whom the publisher waits."""
        assert not self.lossy
        assert not self.evicts
        _, end = self.model.place(size, topic, alignment)
        after = len(self.model.messages) + 1
        assert any(self.model.is_in_the_way(reader, end, after, SLACK) for reader in self.model.gating())
        oldest = self.multicast.stats().oldest
        assert self.model.oldest <= oldest  # it has said already what it will give up
        self.model.oldest = oldest

    @precondition(lambda self: self.publisher is not None)
    @rule(size=sizes, topic=topics, how=st.sampled_from(["publish", "try_publish"]))
    def publish(self, size: int, topic: str | None, how: str) -> None:
        assert self.publisher is not None
        content = self.next_content(size)
        sequence = len(self.model.messages)
        if len(content) > PAGE - padded(len((topic or "").encode())):
            with pytest.raises(ipc.MessageTooLargeError):
                self.publisher.publish(content, topic=topic, timeout=0)
            return
        try:
            if how == "publish":
                assert self.publisher.publish(content, topic=topic, timeout=0) == sequence
                published = True
            else:
                published = self.publisher.try_publish(content, topic=topic)
        except ipc.TimeoutError:
            published = False
        if published:
            self.went([content], topic, 8)
        else:
            self.was_refused(len(content), topic, 8)

    @precondition(lambda self: self.publisher is not None)
    @rule(lengths=st.lists(st.integers(0, 300), max_size=40), topic=topics, generator=st.booleans())
    def publish_many(self, lengths: list[int], topic: str | None, generator: bool) -> None:
        assert self.publisher is not None
        contents = [self.next_content(length) for length in lengths]
        try:
            published = self.publisher.publish_many(iter(contents) if generator else contents, topic=topic, timeout=0)
            assert published == len(contents)
        except ipc.TimeoutError as error:
            published = error.published  # type: ignore[attr-defined]
            assert published < len(contents)
        if published:
            self.went(contents[:published], topic, 8)
        if published < len(contents):
            self.was_refused(len(contents[published]), topic, 8)

    @precondition(lambda self: self.publisher is not None)
    @rule(size=sizes, topic=topics, fails=st.booleans())
    def claim(self, size: int, topic: str | None, fails: bool) -> None:
        assert self.publisher is not None
        content = self.next_content(size)
        claim = self.publisher.claim(nbytes=len(content), topic=topic, timeout=0)
        if len(content) > PAGE - padded(len((topic or "").encode())) - SLACK:
            with pytest.raises(ipc.MessageTooLargeError):
                claim.__enter__()
            return
        try:
            with claim as memory:
                memory[:] = b"\xff" * len(content) if fails else content
                if fails:
                    raise LookupError
        except ipc.TimeoutError:
            self.was_refused(len(content), topic, 64)
        except LookupError:  # nothing was published, but the room was made
            _, end = self.model.place(len(content), topic, 64)
            self.gave_up(self.model.oldest, end, len(self.model.messages) + 1)
        else:
            self.went([content], topic, 64)

    @rule()
    def close_the_publisher_or_become_it(self) -> None:
        if self.publisher is not None:
            self.publisher.close()
            self.publisher = None
        else:
            self.publisher = self.multicast.publisher()

    # --- joining and leaving

    @initialize(everything=st.booleans(), beginning=st.booleans())
    def some_are_there_already(self, everything: bool, beginning: bool) -> None:
        self.subscribe("latest", None if everything else ["a", "b"], False, False)
        if beginning:
            self.publish_many([100] * 20, "a", False)
        self.subscribe("oldest", None, True, False)

    @precondition(lambda self: len(self.model.readers) < 5)
    @rule(
        start=st.one_of(st.sampled_from(["latest", "oldest"]), st.integers(-10, 3)),
        wanted=st.one_of(st.none(), st.none(), st.lists(st.sampled_from(TOPICS[1:]), min_size=1, unique=True)),
        to_latest=st.booleans(),
        observe=st.booleans(),
    )
    def subscribe(self, start: Any, wanted: list[str] | None, to_latest: bool, observe: bool) -> None:
        sent, lossy = len(self.model.messages), self.lossy or observe
        at = {"latest": sent, "oldest": self.model.oldest}.get(start, 0)
        if isinstance(start, int):
            at = start = max(0, sent + start)
            if at > sent or (at < self.model.oldest and not lossy):
                with pytest.raises(ValueError, match=r"keeps (no )?messages"):
                    self.multicast.subscribe(start, observe=observe)
                return
        end = self.multicast.subscribe(
            start, wanted, on_lap="latest" if to_latest else "oldest", observe=observe, interval=0.001
        )
        chosen = None if wanted is None else tuple(wanted)
        used = {one.number for one in self.model.readers}
        number = -1 if observe else next(n for n in range(10) if n not in used)
        self.model.readers.append(Reader(end, number, at, chosen, lossy, to_latest, observe, at < sent))

    @precondition(lambda self: self.model.readers)
    @rule(number=which)
    def leave(self, number: int) -> None:
        self.model.readers.pop(number % len(self.model.readers)).end.close()

    # --- receiving

    def chosen(self, number: int) -> Reader:
        return self.model.readers[number % len(self.model.readers)]

    def expect_none(self, reader: Reader, call: Any) -> None:
        """The exception that fits."""
        error: type[Exception] = ipc.TimeoutError if self.publisher is not None else ipc.EndOfChannel
        with pytest.raises(ipc.LaggedOutError if reader.evicted else error):
            call()

    @precondition(lambda self: self.model.readers)
    @rule(number=which, how=st.sampled_from(["recv", "recv in time", "try_recv", "recv_envelope", "iteration"]))
    def receive(self, number: int, how: str) -> None:
        reader = self.chosen(number)
        end = reader.end
        taken = None if reader.evicted else self.model.take(reader)
        if taken is None:
            if how == "try_recv" and self.publisher is not None and not reader.evicted:
                assert end.try_recv("none") == "none"
            else:
                self.expect_none(reader, end.try_recv if how == "try_recv" else lambda: end.recv(timeout=0))
        elif how == "recv_envelope":
            envelope = end.recv_envelope(timeout=0)
            assert envelope == (taken.message.content, taken.sequence, taken.lost, taken.message.topic)
        else:
            calls = {"recv": end.recv, "recv in time": lambda: end.recv(timeout=0), "iteration": lambda: next(end)}
            assert calls.get(how, end.try_recv)() == taken.message.content

    @precondition(lambda self: self.model.readers)
    @rule(number=which, most=st.integers(1, 50))
    def recv_many(self, number: int, most: int) -> None:
        reader = self.chosen(number)
        taken = [] if reader.evicted else self.model.take_many(reader, most)
        if taken:
            assert reader.end.recv_many(most, timeout=0) == [one.message.content for one in taken]
        else:
            self.expect_none(reader, lambda: reader.end.recv_many(most, timeout=0))

    @precondition(lambda self: self.model.readers)
    @rule(number=which, fails=st.booleans())
    def view(self, number: int, fails: bool) -> None:
        reader = self.chosen(number)
        if reader.lossy or self.evicts:
            with pytest.raises(TypeError, match="can't lend"):
                reader.end.view(timeout=0)
            return
        taken = self.model.take(reader)
        if taken is None:
            self.expect_none(reader, reader.end.view(timeout=0).__enter__)
        elif fails:  # it was read
            with pytest.raises(LookupError), reader.end.view(timeout=0):
                raise LookupError
        else:
            with reader.end.view(timeout=0) as memory:
                assert bytes(memory) == taken.message.content
                if self.publisher is not None:  # nothing that is viewed is overwritten
                    reader.next = taken.sequence
                    self.publish(700, "b", "try_publish")
                    self.publish(700, None, "publish")
                    reader.next = taken.sequence + 1
                assert bytes(memory) == taken.message.content

    @rule()
    def everybody_reads_what_is_left(self) -> None:
        for reader in self.model.readers:
            while not reader.evicted and (taken := self.model.take(reader)) is not None:
                assert reader.end.recv(timeout=0) == taken.message.content
            self.expect_none(reader, partial(reader.end.recv, timeout=0))

    # --- what always holds

    @invariant()
    def the_numbers_are_the_model_s(self) -> None:
        stats = self.multicast.stats()
        sent = len(self.model.messages)
        assert stats.sent == sent
        assert stats.bytes == sum(len(message.content) for message in self.model.messages)
        assert stats.oldest == self.model.oldest
        assert 0 <= sent - stats.oldest <= ENTRIES
        assert stats.evicted >= sum(one.evicted for one in self.model.readers)
        expected = {
            one.number: ("evicted" if one.evicted else "active", one.next, sent - one.next, one.received, one.lost)
            for one in self.model.readers
            if not one.observer
        }
        assert expected == {
            one.number: (one.state, one.sequence, one.behind, one.received, one.lost) for one in stats.subscribers
        }
        assert stats.depth == max((sent - one.next for one in self.model.gating()), default=0)
        for one in self.model.readers:
            assert one.end.lost == one.lost

    @invariant()
    def what_is_kept_can_be_read_by_who_comes(self) -> None:
        with self.multicast.subscribe("oldest", observe=True) as newcomer:
            for message in self.model.messages[self.model.oldest :]:
                assert newcomer.try_recv() == message.content


OPTIONS: dict[str, dict[str, Any]] = {
    "lossless": {},
    "bounded lag": {"max_lag": 5},
    "evicting": {"on_laggard": "evict"},
    "evicting with bounded lag": {"on_laggard": "evict", "max_lag": 7},
    "lossy": {"policy": "lossy"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_multicast_does_what_the_model_does(options: dict[str, Any]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(max_examples=60, stateful_step_count=30, deadline=None,
                      suppress_health_check=list(HealthCheck))  # fmt: skip
    run_state_machine_as_test(lambda: MulticastMachine(options), settings=chosen)  # type: ignore[arg-type]
