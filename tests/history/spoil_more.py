"""Faults that only some structures can have, wrong gaps and wrong leases; and what is no history at all."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Final

from tests.history.operations import FOREVER, Op, Result
from tests.history.rules import Fault
from tests.history.spoil import (
    TAKING,
    Case,
    Spoiler,
    calls_of,
    drop,
    excused,
    places_of,
    spoiler,
    surely_sent,
    uncertain,
)

__all__ = ["MORE_SPOILERS"]

MORE_SPOILERS: Final[dict[str, Spoiler]] = {}


@spoiler(
    MORE_SPOILERS,
    "lost in the middle of a reader's stream",
    Fault.LOST,
    lambda rules: rules.readers == "each" and not rules.gaps,
)
def _lose_in_the_middle(case: Case, random_: random.Random) -> bool:
    return _drop_in_the_middle(case, random_)


@spoiler(MORE_SPOILERS, "a gap that was not told", Fault.WRONG_GAP, lambda rules: rules.gaps)
def _hide_a_gap(case: Case, random_: random.Random) -> bool:
    return _drop_in_the_middle(case, random_)


def _drop_in_the_middle(case: Case, random_: random.Random) -> bool:
    if uncertain(case):  # what may have been published may be what a gap was told for
        return False
    sure, places = surely_sent(case), places_of(case)
    inner = [  # not in a reader's first call: it is not known exactly where it began
        place
        for before, place, after in zip(places, places[1:], places[2:], strict=False)
        if before.call.process == place.call.process == after.call.process
        and before.call is not place.call
        and place.item.value in sure
        and place.item.gap == 0
    ]
    if not inner:
        return False
    drop(random_.choice(inner))
    _forget_numbers(case, random_)
    return True


def _forget_numbers(case: Case, random_: random.Random) -> None:
    """Half of the structures don't tell numbers: then the gaps must be found without."""
    if random_.random() < 0.5:
        for call in calls_of(case, *TAKING):
            call.items = [item._replace(sequence=-1) for item in call.items]


@spoiler(MORE_SPOILERS, "acknowledged by nobody", Fault.LOST, lambda rules: rules.leases)
def _forget_an_acknowledgement(case: Case, random_: random.Random) -> bool:
    sure = surely_sent(case)
    calls = [call for call in calls_of(case, Op.ACK) if call.result == Result.OK and call.items[0].value in sure]
    if not calls:
        return False
    case.history.operations.remove(random_.choice(calls))
    return True


@spoiler(MORE_SPOILERS, "a gap that is wrong by some", Fault.WRONG_GAP, lambda rules: rules.readers == "each")
def _miscount(case: Case, random_: random.Random) -> bool:
    if uncertain(case):
        return False
    places = places_of(case)
    later = [  # not in a reader's first call: it is not known exactly where it began
        place
        for before, place in pairwise(places)
        if before.call.process == place.call.process and before.call is not place.call
    ]
    if not later:
        return False
    place = random_.choice(later)
    wrong = [gap for gap in range(max(0, place.item.gap - 2), place.item.gap + 3) if gap != place.item.gap]
    place.put(place.item._replace(gap=random_.choice(wrong)))
    _forget_numbers(case, random_)
    return True


@spoiler(MORE_SPOILERS, "a wrong number", Fault.REORDERED, lambda rules: rules.order == "total")
def _misnumber(case: Case, random_: random.Random) -> bool:
    places = [place for place in places_of(case) if place.item.sequence >= 0]
    if len(places) < 2:
        return False
    place, other = random_.sample(places, 2)
    place.put(place.item._replace(sequence=other.item.sequence))
    return place.item.value != other.item.value


@spoiler(MORE_SPOILERS, "delivered again while it was held", Fault.EARLY, lambda rules: rules.leases)
def _deliver_early(case: Case, random_: random.Random) -> bool:
    lease = case.rules.lease_ns
    assert lease is not None
    backs = [call for call in calls_of(case, Op.NACK) if call.result == Result.OK]
    random_.shuffle(backs)
    for back in backs:
        value, number = back.items[0].value, back.items[0].deliveries
        held = [place for place in places_of(case) if place.item.value == value and place.item.deliveries == number]
        again = [
            place for place in places_of(case) if place.item.value == value and place.item.deliveries == number + 1
        ]
        death = case.history.deaths.get(back.process)
        ended = min(death.killed if death else FOREVER, held[0].call.invoked + lease) if held else 0
        if again and again[0].call.returned < ended:
            case.history.operations.remove(back)
            return True
    return False


@spoiler(MORE_SPOILERS, "a count that skips one", Fault.WRONG_COUNT, lambda rules: rules.leases)
def _skip_a_number(case: Case, random_: random.Random) -> bool:
    skip = excused(case) + 1
    value = random_.choice([place.item.value for place in places_of(case)] or [0])
    for call in case.history.operations:
        if call.op != Op.SEND:
            call.items = [
                item._replace(deliveries=item.deliveries + skip) if item.value == value else item for item in call.items
            ]
    return value != 0


@spoiler(MORE_SPOILERS, "delivered after its acknowledgement", Fault.DUPLICATED, lambda rules: rules.leases)
def _deliver_late(case: Case, random_: random.Random) -> bool:
    acks = [call for call in calls_of(case, Op.ACK) if call.result == Result.OK]
    empties = [call for call in calls_of(case, Op.LEASE) if call.result == Result.EMPTY]
    pairs = [(ack, empty) for ack in acks for empty in empties if empty.invoked > ack.returned]
    if not pairs:
        return False
    ack, empty = random_.choice(pairs)
    empty.result = Result.OK
    empty.items.append(ack.items[0]._replace(deliveries=ack.items[0].deliveries + 1))
    return True


@spoiler(MORE_SPOILERS, "an acknowledgement refused in time", Fault.FALSE_REFUSAL, lambda rules: rules.leases)
def _refuse_early(case: Case, random_: random.Random) -> bool:
    lease = case.rules.lease_ns
    assert lease is not None
    leased = {(place.item.value, place.item.deliveries): place.call for place in places_of(case)}
    calls = []
    for call in calls_of(case, Op.ACK):
        holder = leased.get((call.items[0].value, call.items[0].deliveries))
        alive = call.process not in case.history.deaths
        if call.result == Result.OK and alive and holder and call.returned < holder.invoked + lease:
            calls.append(call)
    if not calls:
        return False
    random_.choice(calls).result = Result.REFUSED
    return True


@spoiler(MORE_SPOILERS, "put aside too early", Fault.WRONG_COUNT, lambda rules: rules.leases)
def _bury_early(case: Case, random_: random.Random) -> bool:
    acks = [call for call in calls_of(case, Op.ACK) if call.result == Result.OK and call.items[0].deliveries < 5]
    if not acks:
        return False
    random_.choice(acks).op = Op.DEAD_LETTER
    return True


@spoiler(MORE_SPOILERS, "a call that overlaps the one before", Fault.MALFORMED)
def _overlap(case: Case, random_: random.Random) -> bool:
    calls = case.history.operations
    pairs = [(a, b) for a, b in pairwise(calls) if a.process == b.process]
    if not pairs:
        return False
    before, after = random_.choice(pairs)
    after.invoked = before.returned - 1
    return True


@spoiler(MORE_SPOILERS, "a call that hangs", Fault.MALFORMED)
def _hang(case: Case, random_: random.Random) -> bool:
    last = {call.process: call for call in case.history.operations}
    calls = [call for process, call in last.items() if process not in case.history.deaths]
    if not calls:
        return False
    call = random_.choice(calls)
    at = case.history.operations.index(call)
    items = [] if call.op in TAKING else call.items
    case.history.operations[at] = replace(call, returned=FOREVER, result=Result.OPEN, items=items)
    return True
