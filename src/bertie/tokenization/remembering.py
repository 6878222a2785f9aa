"""Tables that fill as they are used, and never the memory."""

from abc import ABC, abstractmethod
from typing import TypeVar

Key = TypeVar("Key", int, str, bytes)
Value = TypeVar("Value")
MOST = 1 << 16
"""Entries that a table remembers; when there are more, all are forgotten."""
LONGEST = 100
"""Characters of a key that is remembered."""


class Remembering(dict[Key, Value], ABC):
    """Works an entry out when it is first asked for. Threads may share one: at worst, both work it out."""

    @abstractmethod
    def work_out(self, key: Key) -> Value: ...

    def __missing__(self, key: Key) -> Value:
        value = self.work_out(key)
        if isinstance(key, int) or len(key) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[key] = value
        return value
