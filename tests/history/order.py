"""V4: what was sent earlier comes earlier; to each reader as it counts, and between readers by real time.

One message was sent before another when its call had returned before the other's began.  Two that overlap have no
order, unless they are of one batch.  Where a reader's death gives back what it had in its hands (`returns`), that comes
behind what others took meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.history.facts import Facts, Sent, Take
from tests.history.rules import Fault

__all__ = ["check_order"]


def check_order(facts: Facts) -> None:
    """All of it, as the rules want it."""
    rules = facts.rules
    if rules.order == "none":
        return
    for process, takes in facts.by_reader.items():
        _check_reader(facts, process, takes)
    if rules.order == "total":
        readers: Iterable[list[Take]] = facts.by_reader.values()
        if rules.readers != "each":
            readers = [[take for takes in facts.by_reader.values() for take in takes]]
        for takes in readers:
            _check_real_time(facts, takes)
    elif rules.across:
        streams: defaultdict[int, list[Take]] = defaultdict(list)
        for takes in facts.by_reader.values():
            for take in takes:
                if take.item.value in facts.sent:
                    streams[facts.sent[take.item.value].call.process].append(take)
        for takes in streams.values():
            _check_real_time(facts, takes)


def _check_reader(facts: Facts, process: int, takes: list[Take]) -> None:
    """A reader sees the messages of each sender in the order in which it sent them."""
    last: dict[int, tuple[int, int]] = {}
    for take in takes:
        sent = facts.sent.get(take.item.value)
        if sent is None or take.item.deliveries > 1:
            continue
        place, value = last.get(sent.call.process, (-1, 0))
        if sent.place < place and not _passed(facts, sent, facts.sent[value], take):
            _refuse(facts, f"process {process} got value {take.item.value} after value {value}, which was sent later")
        last[sent.call.process] = max((place, value), (sent.place, take.item.value))


def _check_real_time(facts: Facts, takes: list[Take]) -> None:
    """No message is taken after a later one was, whoever takes them."""
    pairs: list[tuple[Sent, Take]] = [
        (facts.sent[take.item.value], take)
        for take in takes
        if take.item.value in facts.sent and take.item.deliveries <= 1
    ]
    by_begin = sorted(pairs, key=lambda pair: pair[0].begun, reverse=True)
    by_end = sorted(pairs, key=lambda pair: pair[0].until, reverse=True)
    earliest, which, at = 1 << 63, 0, 0
    for sent, take in by_end:
        while at < len(by_begin) and by_begin[at][0].begun > sent.until:  # sent later for certain
            later = by_begin[at][1]
            if later.until < earliest:
                earliest, which = later.until, later.item.value
            at += 1
        if earliest < take.begun and not (facts.rules.returns and facts.may_have_held(sent, earliest, take.until)):
            _refuse(facts, f"value {which} was taken before value {take.item.value}, which was sent earlier")


def _passed(facts: Facts, sent: Sent, later: Sent, take: Take) -> bool:
    """Whether the later one may have come first because a reader died with this one in its hands."""
    others = facts.takes[later.item.value]
    return facts.rules.returns and facts.may_have_held(sent, max(other.until for other in others), take.until)


def _refuse(facts: Facts, text: str) -> None:
    facts.report.refuse(Fault.REORDERED, text)
