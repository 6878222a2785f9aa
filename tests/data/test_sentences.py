"""Sentences by rules: equal to the rules applied to one end after another."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.data import records
from bertie.data.sentences import _ABBREVIATIONS, sentences

END = re.compile(r"""([.!?…]+["'”’)\]]*)\s+(?=["'“‘(\[]*[A-Z0-9])""")
LAST_WORD = re.compile(r"([\w.]+)\.[\"'”’)\]]*$")
PARTS = ["Mr", "I", "A", "e.g", "U.S", "word", " ", "  ", "\n", "\n\n", "\n \n", "\t", "\u3000", "\x1c", "\u200b"]
PARTS += [*'.!?…"”([)]1-é', "Word", "no"]


def by_definition(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        words, start = " ".join(paragraph.split()), 0
        for end in END.finditer(words):
            word = LAST_WORD.search(words[start : end.end(1)][-24:])
            if word and (word[1].lower() in _ABBREVIATIONS or re.fullmatch(r"(?!I$)[A-Z](\.[A-Z])*", word[1])):
                continue
            yield words[start : end.end(1)]
            start = end.end()
        if words[start:]:
            yield words[start:]


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_sentences_are_those_of_the_definition(text: str) -> None:
    assert list(sentences(text)) == list(by_definition(text))


def test_real_text_has_the_same_sentences(shared: Path) -> None:
    count = 0
    for row in records(shared / "data" / "languages.jsonl.xz"):
        text = str(row.fields["text"])
        found = list(sentences(text))
        assert found == list(by_definition(text))
        count += len(found)
    assert count > 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Mr. Dance stood. "Who?" he said. It was I. Then it ended',
            ["Mr. Dance stood.", '"Who?" he said.', "It was I.", "Then it ended"],
        ),
        ("One line\nof two. Next!\n\nHeading\n\nLast.", ["One line of two.", "Next!", "Heading", "Last."]),
        ("See J. R. Smith, e.g. Here. Done… Yes.", ["See J. R. Smith, e.g. Here.", "Done…", "Yes."]),
        ("", []),
    ],
)
def test_ends_of_sentences(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected
