"""What bertie tells its user besides answers: log messages, each said once, under the logger named "bertie"."""

import logging

logger = logging.getLogger("bertie")
_said: set[str] = set()


def say_once(message: str, level: int = logging.WARNING) -> None:
    """Log ``message`` unless this process has logged the very same message before."""
    if message not in _said:
        _said.add(message)
        logger.log(level, message)
