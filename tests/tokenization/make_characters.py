"""Writes ``characters.npz``: the normal form of each Unicode character, obtained from the package ``tokenizers``.

    python tests/tokenization/make_characters.py

An entry holds the kind of a character and its replacement: kind | count << 3 | (code or index in ``forms``) << 8.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import normalizers, pre_tokenizers

import bertie.tokenization
from bertie.tokenization.characters import BLANK, DROPPED, IDEOGRAPH, LETTER, PAGE, SIGN, UNLISTED, VARIANTS

PATH = Path(bertie.tokenization.__file__).with_name("characters.npz")
# two marks that are kept where accents are stripped, but reordered: one moves after others, one before them
_LATE, _EARLY = "\U0001d16d", "\u1b44"
CODES = [*range(0xD800), *range(0xE000, 0x110000)]
_split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def classifier(lower: bool, strip: bool) -> Callable[[int], tuple[int, str]]:
    """Return the function from a code point to its kind and normal form."""
    options: dict[str, Any] = {"clean_text": True, "strip_accents": strip, "lowercase": lower}
    normalize = normalizers.BertNormalizer(handle_chinese_chars=False, **options).normalize_str
    normalize_chinese = normalizers.BertNormalizer(handle_chinese_chars=True, **options).normalize_str

    def kind_of(code: int) -> tuple[int, str]:
        char = chr(code)
        form = normalize(char)
        if not form:
            return DROPPED, ""
        if normalize(_LATE + char + _EARLY) != _LATE + form + _EARLY:
            return UNLISTED, ""
        words = [word for word, _ in _split(f"a{form}a")]
        if words == ["a", "a"]:
            return BLANK, ""
        if words == ["a", form, "a"]:
            return SIGN, form
        if words != [f"a{form}a"]:
            raise ValueError(f"{char!r} becomes several words: {words}")
        return (LETTER, form) if normalize_chinese(char) == form else (IDEOGRAPH, form)

    return kind_of


def main() -> None:
    forms = ""
    places: dict[str, int] = {}
    pages: dict[bytes, int] = {}
    numbers = []
    for variant in VARIANTS:
        entries = np.full(0x110000, DROPPED, np.uint32)
        kind_of = classifier(*variant)
        for code in CODES:
            kind, form = kind_of(code)
            value = 0
            if form and form != chr(code):
                place = places.setdefault(form, len(forms))
                forms += form if len(form) > 1 and place == len(forms) else ""
                value = len(form) << 3 | (ord(form) if len(form) == 1 else place) << 8
                # so that the ids of a text are never more than its bytes
                assert len(form) <= len(chr(code).encode())
            entries[code] = kind | value
        numbers.append([pages.setdefault(page.tobytes(), len(pages)) for page in entries.reshape(-1, PAGE)])
    np.savez_compressed(
        PATH,
        pages=np.array(numbers, np.uint16),
        entries=np.frombuffer(b"".join(pages), np.uint32),
        forms=np.array(list(map(ord, forms)), np.uint32),
    )


if __name__ == "__main__":
    main()
