"""The readable algorithm, by small examples and against a literal version of the definition."""

from hypothesis import given
from hypothesis import strategies as st

from bertie.tokenization.wordpiece import BasicTokenizer, WordPiece

VOCABULARY = {token: i for i, token in enumerate(["[UNK]", "un", "##aff", "##able", "a", "##a", "##ab", "ab", "##b"])}


def test_longest_pieces_first() -> None:
    wordpiece = WordPiece(VOCABULARY, "[UNK]")
    assert wordpiece.tokens("unaffable") == ["un", "##aff", "##able"]
    assert wordpiece.tokens("abab") == ["ab", "##ab"]
    assert wordpiece.tokens("unaffably") == ["[UNK]"]
    assert wordpiece.tokens("a" * 100) == ["a"] + ["##a"] * 99
    assert wordpiece.tokens("a" * 101) == ["[UNK]"]


def plainly(word: str, vocabulary: dict[str, int]) -> list[str]:
    tokens: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        stops = [stop for stop in range(len(word), start, -1) if mark + word[start:stop] in vocabulary]
        if not stops:
            return ["[UNK]"]
        tokens.append(mark + word[start : stops[0]])
        start = stops[0]
    return tokens


@given(
    entries=st.sets(st.text("ab", min_size=1, max_size=7), max_size=12),
    inner=st.sets(st.text("ab", min_size=1, max_size=7), max_size=12),
    word=st.text("ab", min_size=1, max_size=20),
)
def test_equal_to_the_plain_definition(entries: set[str], inner: set[str], word: str) -> None:
    tokens = ["[UNK]", *sorted(entries), *(f"##{text}" for text in sorted(inner))]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    assert WordPiece(vocabulary, "[UNK]").tokens(word) == plainly(word, vocabulary)


def test_words_of_a_text() -> None:
    assert BasicTokenizer().tokenize("Héllo,\tWORLD! 你好\0 can't") == [
        *["hello", ",", "world", "!", "你", "好"],
        *["can", "'", "t"],
    ]
    assert BasicTokenizer(do_lower_case=False).tokenize("Héllo") == ["Héllo"]
    assert BasicTokenizer(do_lower_case=False, strip_accents=True).tokenize("Héllo") == ["Hello"]
    assert BasicTokenizer(strip_accents=False).tokenize("HÉ") == ["hé"]
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("你好") == ["你好"]
    assert BasicTokenizer(never_split=["[X]"]).tokenize("A [X] [Y]") == ["a", "[X]", "[", "y", "]"]
    assert BasicTokenizer(do_split_on_punc=False).tokenize("a,b c") == ["a,b", "c"]
