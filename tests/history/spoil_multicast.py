"""Faults that only a structure with readers of their own can have: where they begin and end, and numbers."""

from __future__ import annotations

import random
from typing import Final

from tests.history.operations import FOREVER, History, Op, Operation, Result
from tests.history.rules import Fault, Rules
from tests.history.spoil import (
    TAKING,
    Case,
    Spoiler,
    calls_of,
    drop,
    places_of,
    senders_of,
    spoiler,
    surely_sent,
    uncertain,
)

__all__ = ["MULTICAST_SPOILERS"]

MULTICAST_SPOILERS: Final[dict[str, Spoiler]] = {}


def _each(rules: Rules) -> bool:
    return rules.readers == "each"


def _readers(case: Case, random_: random.Random) -> list[int]:
    readers = [call.process for call in calls_of(case, Op.JOIN)]
    random_.shuffle(readers)
    return readers


@spoiler(MULTICAST_SPOILERS, "the last one never came", Fault.FALSE_EMPTY, _each)
def _lose_the_last(case: Case, random_: random.Random) -> bool:
    """Not even in a lossy one, where the newest is never overwritten before the next one is there."""
    senders = senders_of(case)
    ends = {call.process: call for call in calls_of(case, *TAKING) if call.result == Result.ENDED}
    joined = {call.process: call.returned for call in calls_of(case, Op.JOIN)}
    newest = max((call.invoked for call in senders.values()), default=0)
    for reader in _readers(case, random_):
        places = [place for place in places_of(case) if place.call.process == reader]
        if reader not in ends or not places or len(places[-1].call.items) != 1:
            continue
        place, sent = places[-1], senders[places[-1].item.value]
        alone = sent.done == len(sent.items) == 1 and sent.invoked == newest > joined[reader]
        if alone and max(sent.returned, place.call.returned) < ends[reader].invoked:
            drop(place)
            return True
    return False


def _where_it_began(rules: Rules) -> bool:
    return _each(rules) and not rules.gaps


@spoiler(MULTICAST_SPOILERS, "a reader that begins too late", Fault.LOST, _where_it_began)
def _begin_late(case: Case, random_: random.Random) -> bool:
    senders, sure = senders_of(case), surely_sent(case)
    joins = {call.process: call for call in calls_of(case, Op.JOIN)}
    for reader in _readers(case, random_):
        places = [place for place in places_of(case) if place.call.process == reader]
        kept = calls_of(case, Op.VIEW)
        if any(call.process == reader and call.result in {Result.KEPT, Result.OPEN} for call in kept):
            continue
        if len(places) < 2 or len(places[0].call.items) != 1:
            continue
        first = places[0].item.value
        if first in sure and senders[first].invoked > joins[reader].returned:
            drop(places[0])
            return True
    return False


@spoiler(MULTICAST_SPOILERS, "a reader that begins at another number than it wanted", Fault.WRONG_GAP, _each)
def _begin_elsewhere(case: Case, random_: random.Random) -> bool:
    numbered = {place.call.process for place in places_of(case) if place.item.sequence >= 0}
    joins = [call for call in calls_of(case, Op.JOIN) if call.most > 2 and call.process in numbered]
    if not joins:
        return False
    random_.choice(joins).most += random_.choice((-1, 1))
    return True


def _renumber(case: Case, random_: random.Random, by: int | None) -> bool:
    """All messages of one publisher and of those behind it: higher by so many, or as if they were the first."""
    senders = senders_of(case)
    begun = {value: call.invoked for value, call in senders.items()}
    publishers = sorted({call.process: call.invoked for call in reversed(calls_of(case, Op.SEND))}.items())
    places = [place for place in places_of(case) if place.item.sequence >= 0]
    if len(publishers) < 2:
        return False
    since = random_.choice(publishers[1:])[1]
    later = [place for place in places if begun[place.item.value] >= since]
    earlier = [place for place in places if begun[place.item.value] < since]
    if not later or not earlier:
        return False
    first = min(place.item.sequence for place in later)
    shift = -first if by is None else by
    if shift == 0:
        return False
    for place in later:
        place.put(place.item._replace(sequence=place.item.sequence + shift))
    return True


@spoiler(MULTICAST_SPOILERS, "a publisher that counts from the beginning", Fault.REORDERED, _each)
def _count_anew(case: Case, random_: random.Random) -> bool:
    return _renumber(case, random_, None)


@spoiler(MULTICAST_SPOILERS, "a publisher that leaves numbers out", Fault.REORDERED, _each)
def _skip_numbers(case: Case, random_: random.Random) -> bool:
    return _renumber(case, random_, uncertain(case) + 1)


@spoiler(MULTICAST_SPOILERS, "a publisher that uses a number again that was published", Fault.REORDERED, _each)
def _use_again(case: Case, random_: random.Random) -> bool:
    return _renumber(case, random_, -(uncertain(case) + 1))


@spoiler(MULTICAST_SPOILERS, "an end that was none", Fault.FALSE_END, lambda rules: rules.false_ends)
def _say_ended(case: Case, random_: random.Random) -> bool:
    publishers = {call.process for call in calls_of(case, Op.SEND)}
    closed = min((call.invoked for call in calls_of(case, Op.LEAVE) if call.process in publishers), default=FOREVER)
    answers = {Result.EMPTY, Result.PEER_DIED}
    calls = [call for call in calls_of(case, *TAKING) if call.result in answers and call.returned < closed]
    if not calls:
        return False
    random_.choice(calls).result = Result.ENDED
    return True


@spoiler(
    MULTICAST_SPOILERS,
    "a reader evicted that was not far behind",
    Fault.FALSE_EVICTION,
    lambda rules: rules.least_lag is not None,
)
def _evict(case: Case, random_: random.Random) -> bool:
    """In a call that heard that all was read."""
    assert case.rules.least_lag is not None
    calls = [call for call in calls_of(case, *TAKING) if call.result == Result.EMPTY]
    random_.shuffle(calls)
    for call in calls:
        mine = [other for other in case.history.operations if other.process == call.process]
        before = [other for other in mine if other.items and other.op in TAKING and other.returned <= call.invoked]
        if not before:
            continue
        since = senders_of(case)[before[-1].items[0].value].invoked
        sends = [send for send in calls_of(case, Op.SEND) if since <= send.invoked <= call.returned]
        if sum(len(send.items) for send in sends) < case.rules.least_lag:
            call.result = Result.HELD_BACK
            _forget_what_followed(case.history, mine[mine.index(call) + 1 :])
            return True
    return False


def _forget_what_followed(history: History, calls: list[Operation]) -> None:
    gone = set(map(id, calls))
    history.operations[:] = [call for call in history.operations if id(call) not in gone]
