"""Ids, masks, types, offsets and words equal those of transformers' tokenizers, on 194 languages, prose and odd text.

``python tests/parity/test_tokenizers.py`` prints how many texts were compared and how many differed.
"""

import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie import BertTokenizer, BertTokenizerLegacy
from bertie.tokenization.characters import BLANK, DROPPED, IDEOGRAPH, PAGE, SIGN, UNLISTED, characters

VARIANTS = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "accents": {"strip_accents": False},
    "cased, no accents": {"do_lower_case": False, "strip_accents": True},
    "no Chinese": {"tokenize_chinese_chars": False},
}
LEGACY = {"fast": False, "return_special_tokens_mask": True, "return_token_type_ids": True, "verbose": False}
EVERYTHING = {
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}


@cache
def tokenizers_of(vocabulary: Path, variant: str) -> tuple[Any, Any, Any, Any]:
    """Ours and theirs, fast and legacy, with the same vocabulary and options."""
    options = {**VARIANTS[variant], "model_max_length": 512}
    ours = BertTokenizer(vocabulary, **options)
    theirs = transformers.BertTokenizer(vocab=ours.get_vocab(), **options)
    legacy = BertTokenizerLegacy(vocabulary, **options), transformers.BertTokenizerLegacy(str(vocabulary), **options)
    return ours, theirs, *legacy


def languages(shared: Path, lines: int | None = None) -> list[str]:
    """Lines of the Declaration of Human Rights, up to ``lines`` of each language."""
    texts: list[str] = []
    with lzma.open(shared / "data" / "languages.jsonl.xz", "rt", encoding="utf-8") as file:
        for record in file:
            found = [line for line in json.loads(record)["text"].split("\n") if line.strip()]
            texts += found[:lines]
    return texts


def prose(shared: Path, characters: int) -> list[str]:
    """Paragraphs from documents all over the corpus, about ``characters`` in total."""
    texts: list[str] = []
    with lzma.open(shared / "data" / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for record in islice(file, 0, None, 100):
            texts += json.loads(record)["text"][: characters // 12].split("\n\n")
    return texts


def rows(tokenizer: Any, encoding: Any, fast: bool) -> list[dict[str, Any]]:
    """The values of each text of an encoded batch that are compared."""
    found = [{name: encoding[name][i] for name in encoding} for i in range(len(encoding["input_ids"]))]
    if fast:
        for i, row in enumerate(found):
            row |= {"words": encoding.word_ids(i), "sequences": encoding.sequence_ids(i), "tokens": encoding.tokens(i)}
    return found


def differing(
    ours: Any, theirs: Any, texts: Sequence[Any], *pairs: Any, fast: bool = True, **options: Any
) -> list[Any]:
    """The texts on which two tokenizers differ."""
    results = [rows(t, t(list(texts), *pairs, **options), fast) for t in (ours, theirs)]
    assert len(results[0]) == len(results[1])
    return [(texts[i] if i < len(texts) else i, a, b) for i, (a, b) in enumerate(zip(*results, strict=True)) if a != b]


Compared = Iterator[tuple[str, int, list[Any]]]


def compare_languages(shared: Path, vocabulary: Path) -> Compared:
    texts = languages(shared, 100)
    few = languages(shared, 6)
    for variant in VARIANTS:
        ours, theirs, legacy, their_legacy = tokenizers_of(vocabulary, variant)
        chosen = texts if variant == "uncased" else few
        yield f"languages, fast, {variant}", len(chosen), differing(ours, theirs, chosen, verbose=False, **EVERYTHING)
        chosen = few if variant == "uncased" else few[::4]
        yield f"languages, legacy, {variant}", len(chosen), differing(legacy, their_legacy, chosen, **LEGACY)


def compare_prose(shared: Path, vocabulary: Path) -> Compared:
    texts = prose(shared, 300_000)
    for variant in ("uncased", "cased"):
        ours, theirs, legacy, their_legacy = tokenizers_of(vocabulary, variant)
        yield f"prose, fast, {variant}", len(texts), differing(ours, theirs, texts, verbose=False, **EVERYTHING)
        some = texts[::5]
        yield f"prose, legacy, {variant}", len(some), differing(legacy, their_legacy, some, **LEGACY)


def compare_words(shared: Path, vocabulary: Path) -> Compared:
    texts = [text.split() for text in languages(shared, 5)]
    ours, theirs, legacy, their_legacy = tokenizers_of(vocabulary, "uncased")
    split = {"is_split_into_words": True, "verbose": False}
    yield "pre-split, fast", len(texts), differing(ours, theirs, texts, **split, **EVERYTHING)
    yield (
        "pre-split, legacy",
        len(texts[::4]),
        differing(legacy, their_legacy, texts[::4], is_split_into_words=True, **LEGACY),
    )
    pairs = texts[1:] + texts[:1]
    yield "pre-split pairs, fast", len(texts), differing(ours, theirs, texts, pairs, **split, **EVERYTHING)


def modes(pair: bool) -> Iterator[dict[str, Any]]:
    """Every combination of padding and truncation."""
    strategies = ["longest_first", "only_first"] + ["only_second"] * pair
    for padding, multiple, side in product((False, True, "max_length"), (None, 8), ("right", "left")):
        yield {"padding": padding, "pad_to_multiple_of": multiple, "padding_side": side, "max_length": 72}
        for strategy, stride in product(strategies, (0, 3)):
            yield {
                "padding": padding,
                "pad_to_multiple_of": multiple,
                "padding_side": side,
                "truncation": strategy,
                "max_length": 24,
                "stride": stride,
                "return_overflowing_tokens": stride > 0,
            }


def compare_modes(shared: Path, vocabulary: Path) -> Compared:
    texts = [text for text in languages(shared, 40)[5::311] if len(text.split()) > 3]
    shorter = [text[:40] for text in texts[1:]] + [texts[0]]
    ours, theirs, legacy, their_legacy = tokenizers_of(vocabulary, "uncased")
    for pair, side, special in product((False, True), ("right", "left"), (True, False)):
        second = [shorter] if pair else []
        found: list[Any] = []
        found_legacy: list[Any] = []
        count = 0
        for tokenizer in (ours, theirs, legacy, their_legacy):
            tokenizer.truncation_side = side
        for mode in modes(pair):
            mode = {**mode, "add_special_tokens": special, "verbose": False}
            if cannot_fit(ours, texts, second, mode):
                continue
            count += len(texts)
            found += differing(ours, theirs, texts, *second, **mode, **EVERYTHING)
            mode["return_overflowing_tokens"] = False
            found_legacy += differing(legacy, their_legacy, texts, *second, **{**mode, **LEGACY})
        name = f"{'pairs' if pair else 'texts'}, cut {side}, {'' if special else 'no '}special tokens"
        yield f"modes, fast, {name}", count, found
        yield f"modes, legacy, {name}", count, found_legacy
    for tokenizer in (ours, theirs, legacy, their_legacy):
        tokenizer.truncation_side = "right"


def cannot_fit(tokenizer: Any, texts: list[str], second: list[list[str]], mode: dict[str, Any]) -> bool:
    """Whether a mode would have to shorten one text of a pair to nothing; both packages refuse it (`bad_inputs` 13)."""
    strategy = mode.get("truncation")
    if not second or strategy not in ("only_first", "only_second"):
        return False
    lengths = [
        [len(ids) for ids in tokenizer(side, add_special_tokens=False)["input_ids"]] for side in (texts, *second)
    ]
    other = lengths[1] if strategy == "only_first" else lengths[0]
    return max(other) + 3 + mode["stride"] >= mode["max_length"]


COMPARISONS: list[Callable[[Path, Path], Compared]] = [compare_languages, compare_prose, compare_words, compare_modes]


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.__name__)
def test_same_as_the_reference(
    comparison: Callable[[Path, Path], Compared], shared: Path, mini: Path, record_property: Callable[[str, Any], None]
) -> None:
    texts = 0
    for name, count, found in comparison(shared, mini / "vocab.txt"):
        assert not found, f"{name}: {len(found)} of {count} differ, the first: {found[0]}"
        assert count > 0, name
        texts += count
    record_property("texts", texts)


@pytest.mark.slow
def test_a_million_lines(shared: Path, mini: Path) -> None:
    """Ids, offsets and words of the languages and of the corpus, line by line, equal those of ``tokenizers`` itself."""
    ours, *_ = tokenizers_of(mini / "vocab.txt", "uncased")
    rust, count = ours.backend_tokenizer, 0
    for some in batched(lines(shared), 10_000):
        rows = ours(list(some), verbose=False)
        for text, row, expected in zip(some, rows.encodings, rust.encode_batch(some), strict=True):
            assert (row.ids, row.offsets, row.word_ids) == (expected.ids, expected.offsets, expected.word_ids), text
        count += len(some)
    assert count == 1_000_000


def lines(shared: Path) -> Iterator[str]:
    """A million lines: those of the languages, forwards and reversed, and then parts of the corpus."""
    known = languages(shared)
    texts = chain(known, (text[::-1] for text in known), _stretches(shared, 40), _stretches(shared, 97))
    yield from islice(texts, 1_000_000)


def _stretches(shared: Path, size: int) -> Iterator[str]:
    """The corpus in texts of ``size`` characters, split anywhere."""
    with lzma.open(shared / "data" / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for record in file:
            text = json.loads(record)["text"]
            yield from (text[start : start + size] for start in range(0, len(text), size))


def batched(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while some := list(islice(texts, size)):
        yield some


ODD_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(
        "aAéÉ\u0301\u0308ßİıΣς 한\u1100\u1161\u11a8漢字\u3000\u00a0\u200b\u200d\ufeff\ufffd\x00\x1c\x85\u2028\t\n\r"
    ),
    st.sampled_from(["[MASK]", "[SEP]", "[sep]", "##", "😀", "👩\u200d🔬", "ﬁ", "ab", "12", "don't"]),
)
ODD_TEXT = st.lists(ODD_CHARACTERS, max_size=60).map("".join)
HYPOTHESIS = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@HYPOTHESIS
@given(text=ODD_TEXT, variant=st.sampled_from(sorted(VARIANTS)))
def test_odd_text(text: str, variant: str, mini: Path) -> None:
    ours, theirs, *_ = tokenizers_of(mini / "vocab.txt", variant)
    assert not differing(ours, theirs, [text], **EVERYTHING)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_legacy_tokenizer_knows_where_tokens_come_from(variant: str, shared: Path, mini: Path) -> None:
    fast, _, legacy, _ = tokenizers_of(mini / "vocab.txt", variant)
    odd = "e\u0301 ÉE\u0301a\u0323\u0307 İI [MASK]x [SEP]  don't ﬁ \u1100\u1161\u11a8 한 漢字kana ΑΣ a\x07b a\u2028b"
    texts = [text for text in [*languages(shared, 8)[::5], odd] if fast(text).input_ids == legacy(text).input_ids]
    assert len(texts) > 200
    same = {"return_token_type_ids": True, "return_offsets_mapping": True, "verbose": False}
    for split, pairs in ((False, texts[1:] + texts[:1]), (True, None)):
        given = [text.split() for text in texts] if split else texts
        assert not differing(fast, legacy, given, pairs, is_split_into_words=split, **same)


@HYPOTHESIS
@given(text=ODD_TEXT, variant=st.sampled_from(sorted(VARIANTS)))
def test_odd_text_legacy(text: str, variant: str, mini: Path) -> None:
    *_, ours, theirs = tokenizers_of(mini / "vocab.txt", variant)
    assert ours(text).data == theirs(text).data


@HYPOTHESIS
@given(first=ODD_TEXT, second=ODD_TEXT, length=st.integers(6, 30), stride=st.integers(0, 1))
def test_odd_pairs_cut(first: str, second: str, length: int, stride: int, mini: Path) -> None:
    ours, theirs, legacy, their_legacy = tokenizers_of(mini / "vocab.txt", "uncased")
    cut = {"truncation": True, "max_length": length, "padding": "max_length"}
    overflowing = {"return_overflowing_tokens": True, "stride": stride} if length > 8 else {}
    assert not differing(ours, theirs, [first], [second], **cut, **overflowing, **EVERYTHING)
    assert legacy([first], [second], **cut).data == their_legacy([first], [second], **cut).data


WHOLE_UNICODE = [*range(0xD800), *range(0xE000, 0x110000)]
# the code points between the last ideographs and the end are private or unassigned
IN_USE = [*range(0xD800), *range(0xE000, 0x33500), *range(0xE0000, 0xE0200)]


@pytest.mark.parametrize(
    ("variant", "codes"),
    [("uncased", IN_USE), *(pytest.param(v, WHOLE_UNICODE, marks=pytest.mark.slow) for v in VARIANTS)],
    ids=["in use", *VARIANTS],
)
def test_every_character_equals_tokenizers(variant: str, codes: list[int], mini: Path) -> None:
    """All of Unicode: the kernel normalizes every character that it accepts as ``tokenizers`` does (decision 30)."""
    ours, *_ = tokenizers_of(mini / "vocab.txt", variant)
    rust, forms = ours.backend_tokenizer, forms_of(ours)
    taken = [char for char in map(chr, codes) if ord(char) in forms]
    assert len(taken) > len(codes) - 100
    table = {code: f" {form} " if is_word else form for code, (form, is_word) in forms.items()}
    for number, start in enumerate(range(0, len(taken), 200)):
        text = "".join(f"a{char}b {char} {char}{char} Ab{char} " for char in taken[start : start + 200])
        words = [word for word, _ in rust.pre_tokenizer.pre_tokenize_str(rust.normalizer.normalize_str(text))]
        assert text.translate(table).split() == words
        # most of Unicode is Chinese, Hangul or unassigned: a sample of these is enough
        if number < 20 or number % 100 == 0:
            assert places(ours(text, verbose=False)[0]) == places(rust.encode(text))
    if ours.do_lower_case if ours.strip_accents is None else ours.strip_accents:
        kept_in_place(rust.normalizer.normalize_str, taken)


def forms_of(tokenizer: Any) -> dict[int, tuple[str, bool]]:
    """The normal form of each code point in the kernel's table, and whether it is a word of its own."""
    lower = tokenizer.do_lower_case
    table = characters(lower, lower if tokenizer.strip_accents is None else tokenizer.strip_accents)
    entries = table.entries.reshape(-1, PAGE)[table.pages].ravel()
    kinds, sizes, values = entries & 7, entries >> 3 & 31, entries >> 8
    found = {}
    for code in WHOLE_UNICODE:
        size, value = int(sizes[code]), int(values[code])
        form = chr(code) if not size else chr(value) if size == 1 else "".join(map(chr, table.forms[value:][:size]))
        is_word = kinds[code] == SIGN or (kinds[code] == IDEOGRAPH and tokenizer.tokenize_chinese_chars)
        if kinds[code] != UNLISTED:
            found[code] = ("" if kinds[code] == DROPPED else " " if kinds[code] == BLANK else form), bool(is_word)
    return found


def places(row: Any) -> list[Any]:
    return list(zip(row.ids, row.tokens, row.offsets, row.word_ids, strict=True))


def kept_in_place(normalize: Callable[[str], str], taken: list[str]) -> None:
    """Stripping accents reorders the marks that it keeps: no accepted character changes places with its neighbours.

    The probe begins with a mark that is moved after all others and ends with one that is moved before them.
    """
    probe = "\u08d4\U0001d16d\u302e\U0001d165\u1b44\U0001e94a"
    assert normalize(probe) != probe
    kept = [char for char in taken if normalize(char)]
    for start in range(0, len(kept), 500):
        part = kept[start : start + 500]
        assert normalize(probe + probe.join(part)) == normalize(probe) + normalize(probe).join(map(normalize, part))


LONG_WORDS = st.text(st.sampled_from("abcdxyzéß0ñабвгдеёжй각가힣ไทยكتابéΣἀ\u0301\u0308ﬁ"), min_size=15, max_size=110)


@HYPOTHESIS
@given(words=st.lists(LONG_WORDS, max_size=4), variant=st.sampled_from(sorted(VARIANTS)))
def test_long_words(words: list[str], variant: str, mini: Path) -> None:
    """Words that are kept from Rust, whose time grows with the square of their length."""
    ours, theirs, *_ = tokenizers_of(mini / "vocab.txt", variant)
    assert not differing(ours, theirs, [" ".join(words)], **EVERYTHING)
    assert not differing(ours, theirs, [words], is_split_into_words=True, **EVERYTHING)


def main() -> None:
    """Print the results of every comparison."""
    transformers.logging.set_verbosity_error()
    shared = Path(__file__).resolve().parents[3] / "shared"
    total = wrong = 0
    for comparison in COMPARISONS:
        for name, count, found in comparison(shared, shared / "models" / "bertie-mini-uncased" / "vocab.txt"):
            total, wrong = total + count, wrong + len(found)
            print(f"{name}: {count} texts, {len(found)} differ", *[f"\n   {text!r}" for text, *_ in found[:2]])
    print(f"{total} texts compared, {wrong} differ")


if __name__ == "__main__":
    main()
