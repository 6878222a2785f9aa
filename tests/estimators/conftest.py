"""A small random BERT whose few words tell two classes apart, and texts made of them."""

from pathlib import Path

import pytest
from films import BAD, FILLING, GOOD, write_start


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, in hub layout."""
    return write_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """60 texts; those at odd indices are positive."""
    found = []
    for number in range(60):
        filling = " ".join(FILLING[(number + step) % 5] for step in range(number % 6))
        found.append(f"{filling} {(GOOD if number % 2 else BAD)[number % 3]} film {FILLING[number // 12]}".strip())
    return found
