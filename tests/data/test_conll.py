"""CoNLL in its variants: numbered words, several columns, comments, and the notes on them."""

from pathlib import Path

import pytest

from bertie.data import BadRows, records
from bertie.errors import InputError

GERMEVAL = """#	http://de.wikipedia.org/wiki/Manfred_Korfmann [2009-10-17]
1	Aufgrund	O	O
2	seiner	O	O

#	http://de.wikipedia.org/wiki/Berlin [2009-10-18]
1	Berliner	B-LOCderiv	O
2	#	O	O
"""
CONLL_U = """# newdoc id = a
# text = Zum Haus.
1-2	Zum	_	_	_	_	_	_	_	_
1	Zu	zu	ADP	APPR	_	3	case	_	_
2	dem	der	DET	ART	_	3	det	_	_
3	Haus	Haus	NOUN	NN	_	0	root	_	SpaceAfter=No
3.1	gebaut	bauen	VERB	VVPP	_	_	_	_	_
4	.	.	PUNCT	$.	_	3	punct	_	_
"""
CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
"""
WNUT = "#fail\tO\nin\tO\nRome\tB-location\n\n# 1 fan\nMe\tO\n\n#\tO\nalone\tO\n"


def read(folder: Path, name: str, content: str) -> tuple[list[dict[str, list[str]]], list[str]]:
    (folder / name).write_text(content, encoding="utf-8")
    found = records(folder / name)
    return [dict(record.fields) for record in found], [note.replace(f"{folder}/", "") for note in found.notes]


def test_germeval(tmp_path: Path) -> None:
    rows, notes = read(tmp_path, "a.conll", GERMEVAL)
    assert [(row["words"], row["tags"]) for row in rows] == [
        (["Aufgrund", "seiner"], ["O", "O"]),
        (["Berliner", "#"], ["B-LOCderiv", "O"]),
    ]
    assert list(rows[0]) == ["1", "words", "tags", "4"]
    assert notes == [
        "a.conll: words are column 2 of 4, column 1 numbers them, tags column 3 (columns={'words': '…', 'tags': '…'}).",
        "a.conll: lines that begin with # are comments: 2.",
    ]


def test_conll_u(tmp_path: Path) -> None:
    (row,), notes = read(tmp_path, "a.conllu", CONLL_U)
    assert row["words"] == ["Zu", "dem", "Haus", "."]
    assert row["tags"] == ["ADP", "DET", "NOUN", "PUNCT"]
    assert row["3"] == ["zu", "der", "Haus", "."]
    assert notes[0].startswith("a.conllu: words are column 2 of 10, column 1 numbers them, tags column 4")
    assert notes[1:] == [
        "a.conllu: lines that begin with # are comments: 2.",
        "a.conllu: lines such as 1-2 and 8.1, which are not single words of the text, are left out: 2.",
    ]


def test_conll_2003(tmp_path: Path) -> None:
    (row,), (note,) = read(tmp_path, "a.conll", CONLL_2003)
    assert row == {"words": ["EU", "rejects"], "2": ["NNP", "VBZ"], "3": ["B-NP", "B-VP"], "tags": ["B-ORG", "O"]}
    assert note.startswith("a.conll: words are column 1 of 4, tags column 4 (")


def test_a_word_may_begin_with_a_number_sign(tmp_path: Path) -> None:
    rows, notes = read(tmp_path, "a.conll", WNUT)
    assert [row["words"] for row in rows] == [["#fail", "in", "Rome"], ["Me"], ["#", "alone"]]
    assert notes == ["a.conll: lines that begin with # are comments: 1."]


def test_numbered_words_with_parts_of_speech_before_the_tags(tmp_path: Path) -> None:
    (row,), (note,) = read(tmp_path, "a.conll", "1 EU NNP B-ORG\n2 rejects VBZ O\n")
    assert (row["words"], row["tags"]) == (["EU", "rejects"], ["B-ORG", "O"])
    assert note.startswith("a.conll: words are column 2 of 4, column 1 numbers them, tags column 4")


def test_a_first_column_of_numbers_out_of_sequence_holds_words(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "a.conll", "1 CD O\n2 CD O\n4 CD O\n")
    assert rows[0]["words"] == ["1", "2", "4"]
    rows, _ = read(tmp_path, "a.conll", "1 O\n2 O\n")
    assert rows[0]["words"] == ["1", "2"]


def test_words_without_tags(tmp_path: Path) -> None:
    assert read(tmp_path, "a.conll", "EU\nrejects\n\nit\n") == ([{"words": ["EU", "rejects"]}, {"words": ["it"]}], [])


def test_a_broken_line_is_not_a_comment(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a\tO\n# b\nc\tO\n\nd\tO\n")
    with pytest.raises(InputError, match="Line 2 of .* has 1 column, but the first line has 2"):
        list(records(tmp_path / "a.conll"))
    assert [record.fields["words"] for record in records(tmp_path / "a.conll", None, BadRows("skip"))] == [["d"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.conll", "token\tlabel\nAda\tB-PER\nran\tO\n\nYes\tO\n"),
        ("a.tsv", "token\tlabel\nAda\tB-PER\nran\tO\n\nYes\tO\n"),
        ("a.conll", "ner_tags lemma Word\nB-PER Ada Ada\nO run ran\n\nO yes Yes\n"),
    ],
)
def test_a_header_names_the_columns_and_is_not_a_word(tmp_path: Path, name: str, content: str) -> None:
    rows, notes = read(tmp_path, name, content)
    assert [row["words"] for row in rows] == [["Ada", "ran"], ["Yes"]]
    assert [row["tags"] for row in rows] == [["B-PER", "O"], ["O"]]
    header = content.split("\n")[0]
    assert notes[-1] == f"{name}: the first line, {header!r}, names the columns and is not a word."
