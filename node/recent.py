"""The values made last, each made once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Makes the value of a key and keeps it until `capacity` others were asked for; `drop` gets one that has to go."""

    def __init__(self, capacity: int, make: Callable[[K], V], drop: Callable[[V], None] = lambda value: None) -> None:
        self._capacity = capacity
        self._make = make
        self._drop = drop
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            else:
                self._values[key] = self._make(key)
                while len(self._values) > self._capacity:
                    self._drop(self._values.popitem(last=False)[1])
            return self._values[key]

    def clear(self) -> None:
        """Drop them all."""
        with self._lock:
            while self._values:
                self._drop(self._values.popitem()[1])
