"""Whatever hypothesis thinks of, there and back through another process, however that was started."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.process import roles
from tests.process.support import METHODS
from tests.process.test_whole_channel import echoing
from tests.properties.test_arrays import NESTS, arrays, is_the_same, plain

method = pytest.mark.parametrize("method", METHODS)
# one worker for all examples of a start method: starting one is what takes long
often = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@method
def test_any_array_comes_back_from_another_process_as_it_went(method: str) -> None:
    with echoing(roles.echo, method, capacity=4096) as (tx, rx):

        @often
        @given(arrays())
        def there_and_back(array: np.ndarray[Any, Any]) -> None:
            tx.send(array)
            assert is_the_same(rx.recv(), array)

        there_and_back()


@method
def test_any_nest_of_objects_comes_back_from_another_process_as_pickle_gives_it(method: str) -> None:
    with echoing(roles.echo, method, capacity=4096) as (tx, rx):

        @often
        @given(NESTS)
        def there_and_back(nest: Any) -> None:
            tx.send([nest])
            there = pickle.loads(pickle.dumps([nest], protocol=5))
            assert plain(rx.recv()) == plain(pickle.loads(pickle.dumps(there, protocol=5)))

        there_and_back()
