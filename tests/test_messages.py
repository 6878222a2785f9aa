"""Values and texts in messages: truncated, listed, and harmless on a terminal."""

import pytest

from bertie.messages import listed, printable, short, shortened, wrong_byte


def test_values_and_texts_are_cut_at_a_length() -> None:
    assert short("abcdef", 8) == "'abcdef'"
    assert short("abcdefg", 8) == "'abcd..."
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


def test_names_are_listed() -> None:
    assert listed(["a", "b"], 2) == "'a', 'b'"
    assert listed(["a", "b", "c"], 2) == "'a', 'b' and 1 more"
    assert listed(["a", "b"], show=str) == "a, b"


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31m\n\u202eé") == "a\\u001b[31m\\u000a\\u202eé"
    assert printable("a\n\t\x00", keep="\n\t") == "a\n\t\\u0000"


def test_a_wrong_byte_is_named_with_its_offset() -> None:
    with pytest.raises(UnicodeDecodeError) as found:
        b"caf\xe9 noir".decode()
    assert wrong_byte(found.value, 100) == "byte 0xE9 at offset 103"
