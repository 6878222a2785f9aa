"""Forking after use: a child must neither use its parent's threads nor wait for them."""

import os
from threading import Lock

LEARNING = Lock()
"""Held while a table takes words in, and while the process forks: a child has no thread that would give it back."""

_NAME = "TOKENIZERS_PARALLELISM"
_set_here = False


def _before() -> None:
    # `tokenizers` reads the variable in the child, where its threads are gone: said here, it neither warns nor hangs
    global _set_here
    if _NAME not in os.environ:
        os.environ[_NAME] = "false"
        _set_here = True


def _in_parent() -> None:
    global _set_here
    if _set_here:
        os.environ.pop(_NAME, None)
        _set_here = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent)
    os.register_at_fork(before=LEARNING.acquire, after_in_parent=LEARNING.release, after_in_child=LEARNING.release)
