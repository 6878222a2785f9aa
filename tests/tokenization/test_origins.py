"""The alignment of texts with normal forms that drop, compose and expand characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.tokenization.origins import Normalize, original_spans
from bertie.tokenization.wordpiece import BasicTokenizer


def cased(text: str) -> str:
    return "".join(BasicTokenizer(do_lower_case=False).tokenize(text))


def uncased(text: str) -> str:
    return "".join(BasicTokenizer().tokenize(text))


def compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (cased, "ab c", [(0, 1), (1, 2), (3, 4)]),
        (cased, "e\u0301x", [(0, 2), (2, 3)]),  # joined
        (cased, "e\u200b\u0301\0", [(0, 3)]),  # joined over what is dropped
        (cased, "e\0\0 x", [(0, 1), (4, 5)]),
        (uncased, "É!\u0301", [(0, 1), (1, 2)]),
        (compatible, "㌔x", [(0, 1), (0, 1), (1, 2)]),  # spread
        (compatible, "ｶﾞ ｶ", [(0, 2), (2, 3), (3, 4)]),
        (uncased, "", []),
    ],
)
def test_spans(form: Normalize, text: str, expected: list[tuple[int, int]]) -> None:
    assert original_spans(text, form) == expected


@given(text=st.text(st.sampled_from("aé\u0301\u200b\0 İß中가\u1100\u1161-ﬁ"), max_size=20))
@pytest.mark.parametrize("form", [cased, uncased, compatible])
def test_every_character_has_a_span_in_order(form: Normalize, text: str) -> None:
    spans = original_spans(text, form)
    assert len(spans) == len(form(text))
    assert spans == sorted(spans)
    assert all(0 <= start < stop <= len(text) for start, stop in spans)
    for (start, stop), char in zip(spans, form(text), strict=True):
        assert char in form(text[start:stop]), "another character comes from there"
