"""The protocols as Spin models: no error in any state of the correct ones, and an error in each broken one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.spin import models

REASON = models.what_is_missing()

pytestmark = pytest.mark.skipif(REASON is not None, reason=f"the Spin models were not searched: {REASON}")

LARGE = {"gates", "leases", "multicast"}  # millions of states: `make spin`, and so `make prove`, searches them


def searches(some: list[models.Search]) -> list[Any]:
    return [
        pytest.param(one, id=str(one), marks=pytest.mark.stress if one.model in LARGE else pytest.mark.slow)
        for one in some
    ]


@pytest.mark.parametrize("search", searches(models.CORRECT))
def test_no_state_of_the_protocol_breaks_a_promise(search: models.Search) -> None:
    found = models.search(search)
    assert found.errors == 0, found.first
    assert found.complete
    assert found.states > 1000


@pytest.mark.parametrize("search", searches(models.BROKEN))
def test_what_is_left_out_is_missed(search: models.Search) -> None:
    found = models.search(search)
    assert found.errors > 0
    assert "out of memory" not in found.first
