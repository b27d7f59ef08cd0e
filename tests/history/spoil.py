"""Bad histories: one thing is made wrong in a good one, so that it can't have happened, or was not promised.

Every spoiler says whether it found a place for its fault.  What it does is wrong by construction, without asking the
checker: more is lost than all deaths together excuse, an answer is put where a message certainly was, and so on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from tests.history.operations import FOREVER, History, Item, Op, Operation, Result
from tests.history.rules import Fault, Rules

__all__ = [
    "SPOILERS",
    "TAKING",
    "Case",
    "Spoiler",
    "calls_of",
    "drop",
    "excused",
    "free_since",
    "places_of",
    "senders_of",
    "spoiler",
    "surely_sent",
    "times_taken",
    "uncertain",
]

TAKING = (Op.RECV, Op.VIEW, Op.LEASE)


class Case(NamedTuple):
    """A history, what it has to obey, and what is left in the structure."""

    history: History
    rules: Rules
    left: set[int]


class Place(NamedTuple):
    """Where a message came."""

    call: Operation
    at: int

    @property
    def item(self) -> Item:
        return self.call.items[self.at]

    def put(self, item: Item) -> None:
        """Something else came there."""
        self.call.items[self.at] = item


class Spoiler(NamedTuple):
    """Makes one thing wrong; returns whether it could."""

    fault: Fault
    spoil: Callable[[Case, random.Random], bool]
    fits: Callable[[Rules], bool]


SPOILERS: Final[dict[str, Spoiler]] = {}


Spoil = Callable[[Case, random.Random], bool]


def spoiler(
    them: dict[str, Spoiler], name: str, fault: Fault, fits: Callable[[Rules], bool] = lambda rules: True
) -> Callable[[Spoil], Spoil]:
    """Put a function on the list of those who can make a history bad."""

    def register(spoil: Spoil) -> Spoil:
        them[name] = Spoiler(fault, spoil, fits)
        return spoil

    return register


# --- finding places -------------------------------------------------------------------------------------------------


def calls_of(case: Case, *ops: Op) -> list[Operation]:
    """The calls of some kinds."""
    return [call for call in case.history.operations if call.op in ops]


def places_of(case: Case) -> list[Place]:
    """Where a message came for certain, in a call that returned."""
    calls = [call for call in calls_of(case, *TAKING) if call.result == Result.OK]
    return [Place(call, at) for call in calls for at in range(len(call.items))]


def senders_of(case: Case) -> dict[int, Operation]:
    """By which call each message was sent."""
    return {item.value: call for call in calls_of(case, Op.SEND) for item in call.items}


def surely_sent(case: Case) -> set[int]:
    """What senders know to be sent."""
    return {item.value for call in calls_of(case, Op.SEND) for item in call.items[: call.done]}


def times_taken(case: Case) -> dict[int, int]:
    """How often each message came."""
    count: dict[int, int] = {}
    for call in calls_of(case, *TAKING):
        for item in call.items:
            count[item.value] = count.get(item.value, 0) + 1
    return count


def uncertain(case: Case) -> int:
    """How many messages may have been sent or not: those of killed senders that came to nobody."""
    often = times_taken(case)
    calls = [call for call in calls_of(case, Op.SEND) if call.result == Result.OPEN]
    return sum(item.value not in often for call in calls for item in call.items)


def drop(place: Place) -> None:
    """Nothing came there."""
    del place.call.items[place.at]
    if not place.call.items:
        place.call.result = Result.HELD_BACK


def free_since(case: Case, call: Operation) -> int:
    """When its process was free before this call."""
    mine = [other.returned for other in case.history.operations if other.process == call.process]
    return max((returned for returned in mine if returned <= call.invoked), default=0)


def excused(case: Case) -> int:
    """How many messages all dead readers together may have taken untold."""
    return sum(call.most for call in calls_of(case, *TAKING) if call.result == Result.OPEN)


# --- V1, V7, V8 -----------------------------------------------------------------------------------------------------


def _change(case: Case, random_: random.Random, change: Callable[[Item], Item]) -> bool:
    places = places_of(case)
    if not places:
        return False
    place = random_.choice(places)
    place.put(change(place.item))
    return True


@spoiler(SPOILERS, "a message that was never sent", Fault.INVENTED)
def _invent(case: Case, random_: random.Random) -> bool:
    return _change(case, random_, lambda item: item._replace(value=item.value + 1_000_000))


@spoiler(SPOILERS, "torn", Fault.TORN)
def _tear(case: Case, random_: random.Random) -> bool:
    return _change(case, random_, lambda item: item._replace(crc=item.crc ^ 1 << random_.randrange(32)))


@spoiler(SPOILERS, "too long or too short", Fault.WRONG_SIZE)
def _resize(case: Case, random_: random.Random) -> bool:
    return _change(case, random_, lambda item: item._replace(size=item.size + random_.choice((-8, -1, 1, 8))))


@spoiler(SPOILERS, "a message whose sender was told that it was not sent", Fault.INVENTED)
def _deny(case: Case, random_: random.Random) -> bool:
    came = {place.item.value for place in places_of(case)}
    calls = [call for call in calls_of(case, Op.SEND) if call.done and call.items[call.done - 1].value in came]
    if not calls:
        return False
    call = random_.choice(calls)
    call.done -= 1
    call.result = random_.choice((Result.FULL, Result.NOT_SENT))
    return True


@spoiler(SPOILERS, "a message that came before it was sent", Fault.INVENTED)
def _foresee(case: Case, random_: random.Random) -> bool:
    senders, places = senders_of(case), places_of(case)
    random_.shuffle(places)
    for late in places:
        for early in places:
            if early.call.returned < senders[late.item.value].invoked and early.call.process == late.call.process:
                early.put(late.item)
                return True
    return False


# --- V2, V3, V4 -----------------------------------------------------------------------------------------------------


@spoiler(SPOILERS, "lost", Fault.LOST, lambda rules: rules.readers != "each" and not rules.leases)
def _lose(case: Case, random_: random.Random) -> bool:
    sure, often = surely_sent(case), times_taken(case)
    places = [place for place in places_of(case) if place.item.value in sure and often[place.item.value] == 1]
    places = [place for place in places if len(place.call.items) == 1]
    count = excused(case) + 1
    if len(places) < count:
        return False
    for place in random_.sample(places, count):
        drop(place)
    return True


@spoiler(SPOILERS, "taken twice", Fault.DUPLICATED)
def _duplicate(case: Case, random_: random.Random) -> bool:
    places = places_of(case)
    pairs = [
        (first, second)
        for first, second in pairwise(places)
        if first.call is not second.call and first.call.process == second.call.process
    ]
    if not pairs:
        return False
    first, second = random_.choice(pairs)
    second.call.items.insert(0, first.item)
    return True


@spoiler(SPOILERS, "out of order", Fault.REORDERED)
def _reorder(case: Case, random_: random.Random) -> bool:
    senders, places, often = senders_of(case), places_of(case), times_taken(case)
    pairs = [
        (first, second)
        for first, second in pairwise(places)
        if first.call.process == second.call.process
        and senders[first.item.value].process == senders[second.item.value].process
        and often[first.item.value] == often[second.item.value] == 1
        and max(first.item.deliveries, second.item.deliveries) <= 1
    ]
    if not pairs:
        return False
    first, second = random_.choice(pairs)
    early, late = first.item, second.item
    first.put(late)
    second.put(early)
    return True


@spoiler(
    SPOILERS,
    "taken before an earlier one by another reader",
    Fault.REORDERED,
    lambda rules: rules.across and rules.readers == "shared",
)
def _reorder_across(case: Case, random_: random.Random) -> bool:
    senders, places = senders_of(case), places_of(case)
    random_.shuffle(places)
    for first in places:
        for second in places:
            a, b = senders[first.item.value], senders[second.item.value]
            apart = first.call.returned < second.call.invoked and first.call.process != second.call.process
            if apart and a.process == b.process and a.returned < b.invoked:
                early, late = first.item, second.item
                first.put(late)
                second.put(early)
                return True
    return False


# --- V5 and false deaths --------------------------------------------------------------------------------------------


@spoiler(SPOILERS, "empty, although something was there", Fault.FALSE_EMPTY)
def _say_empty(case: Case, random_: random.Random) -> bool:
    senders, often, places = senders_of(case), times_taken(case), places_of(case)
    random_.shuffle(places)
    for place in places:
        if often[place.item.value] > 1 or place.item.deliveries > 1 or place.item.value not in surely_sent(case):
            continue
        free = max(free_since(case, place.call), senders[place.item.value].returned)
        if place.call.invoked - free < 4:
            continue
        call = Operation(
            place.call.process,
            place.call.op,
            free + 1,
            place.call.invoked - 1,
            random_.choice((Result.EMPTY, Result.ENDED)),
        )
        case.history.operations.insert(case.history.operations.index(place.call), call)
        return True
    return False


@spoiler(SPOILERS, "full, although there was room", Fault.FALSE_FULL, lambda rules: rules.capacity is not None)
def _say_full(case: Case, random_: random.Random) -> bool:
    if case.left or any(call.result == Result.OPEN for call in case.history.operations):
        return False
    after = max(call.returned for call in case.history.operations) + 10
    process = random_.choice(calls_of(case, Op.SEND)).process
    item = Item(2_000_000, 8)
    case.history.operations.append(Operation(process, Op.SEND, after, after + 10, Result.FULL, [item]))
    return True


@spoiler(SPOILERS, "a death that was none", Fault.FALSE_DEATH, lambda rules: rules.false_deaths)
def _say_dead(case: Case, random_: random.Random) -> bool:
    first = min((death.killed for death in case.history.deaths.values()), default=FOREVER)
    calls = [
        call for call in case.history.operations if call.result in {Result.EMPTY, Result.FULL} and call.returned < first
    ]
    if not calls:
        return False
    random_.choice(calls).result = Result.PEER_DIED
    return True
