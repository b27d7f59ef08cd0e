from typing import Any

class End:
    def _bind(self, address: int, most: int, lends: bool, /) -> None: ...

class Queue:
    def _bind(self, owner: object, address: int, puts: bool, gets: bool, lease_ns: int, acks: bool, /) -> None: ...

class Seat:
    def _bind(self, owner: object, address: int, pickles: bool, lends: bool, /) -> None: ...

class Delivery:
    _queue: Any
    _handle: Any
    _lease: Any
    _message: Any
    _result: int
    _state: int
    _lent: int
    def _begin(self, queue: Any, address: int, result: int, message: Any, /) -> None: ...

def connect(address: int, /) -> None: ...
def method(of: str, name: str, doc: str, /) -> Any: ...
def classes(delivery: type, receipt: type, unread: object, lease_at: object, /) -> None: ...
