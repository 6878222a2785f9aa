"""Pictures of entities: the page shows the text unchanged with correct marks, and mistakes are named."""

import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie
from bertie.errors import CheckpointError, InputError, InputTypeError
from bertie.pictures.colours import DARK, FAINT, LIGHT, PAPER, TEXT, look_of
from bertie.pictures.picture import Picture, printable

SENTENCE = "Marie Curie was born in Warsaw."
FOUND = [
    {"entity_group": "LOC", "start": 24, "end": 30, "score": np.float32(0.875), "word": "warsaw"},
    {"label": "PER", "start": np.int64(0), "end": 11},
]


class Marked(HTMLParser):
    """Parses a page as a browser does: the text of the paragraphs without tags, and the marks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.marks, self.titles = "", [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append("text" if dict(attributes).get("class") == "text" else tag)
        if self.open[-2:] == ["text", "mark"]:
            self.marks.append("")
            self.titles.append(dict(attributes).get("title"))

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "text" in self.open and "bdi" not in self.open:
            self.text += data
            if "mark" in self.open:
                self.marks[-1] += data


def test_the_page_marks_what_was_found() -> None:
    picture = bertie.plot_entities(SENTENCE, FOUND)
    page = Marked(picture.html)
    assert page.text == SENTENCE
    assert page.marks == ["Marie Curie", "Warsaw"]
    assert page.titles == ["characters 0 to 11", "characters 24 to 30"]
    assert "<bdi>LOC <small>0.88</small></bdi>" in picture.html
    assert "<bdi>PER</bdi>" in picture.html
    assert picture.svg is None


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\"quotes\" & 'apostrophes' &amp; ]]> <!--",
        "a\x00b\x1b[31mc\x7f\x85\ud800\uffff",
        "ראש הממשלה דוד נאם ב UNESCO בשנת 1948.",
        "東京都は日本の首都であり、安倍晋三は元首相である。" * 4,
        "x" * 300 + " 👩‍👩‍👧 e\u0301",
        " spaces \t and\n\nlines\u2028",
        "\u202eoverride",
    ],
)
def test_every_text_is_harmless(text: str) -> None:
    label = "<b>\"'&\x01"
    picture = bertie.plot_entities(text, [{"start": 1, "end": len(text) - 1, "label": label, "score": float("nan")}])
    page = Marked(picture.html)
    assert page.text == printable(text)
    assert page.marks == [printable(text)[1:-1]]
    assert "<b>" not in picture.html
    assert "<script" not in picture.html


def test_several_texts() -> None:
    picture = bertie.plot_entities([SENTENCE, "Nothing here."], [FOUND, []], title="Two <texts>")
    assert picture.title == "Two <texts>"
    assert "<title>Two &lt;texts&gt;</title>" in picture.html
    assert Marked(picture.html).text == SENTENCE + "Nothing here."


@pytest.mark.parametrize(
    ("entity", "kind", "message"),
    [
        (
            {"start": 0, "end": 99, "label": "X"},
            InputError,
            "Entity 2 ('X') covers characters 0 to 99, but its text has 31",
        ),
        ({"start": -2, "end": 3, "label": "X"}, InputError, "covers characters -2 to 3"),
        ({"start": 15, "end": 15, "label": "X"}, InputError, "covers characters 15 to 15"),
        ({"start": 28, "end": 31, "label": "X"}, InputError, "Entities overlap: 'LOC' at 24 to 30 and 'X' at 28 to 31"),
        ({"start": 12.0, "end": 15, "label": "X"}, InputTypeError, "Entity 2 has 12.0 as its start"),
        ({"end": 15, "label": "X"}, InputTypeError, "Entity 2 has None as its start"),
        ({"start": 12, "end": 15}, InputTypeError, "Entity 2 has no label"),
        ({"start": 12, "end": 15, "label": "X", "score": "high"}, InputTypeError, "'high' as its score"),
        ("Warsaw", InputTypeError, "Entity 2 is a str; give a mapping"),
    ],
)
def test_mistakes_are_one_sentence(entity: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        bertie.plot_entities(SENTENCE, [*FOUND, entity])


def test_mistakes_around_the_lists() -> None:
    with pytest.raises(InputTypeError, match="text is a int"):
        bertie.plot_entities([3], [[]])
    with pytest.raises(InputTypeError, match="entities is a dict; give a list"):
        bertie.plot_entities(SENTENCE, FOUND[0])
    with pytest.raises(InputError, match="There are 2 texts and 1 lists of entities"):
        bertie.plot_entities([SENTENCE, SENTENCE], [FOUND])
    with pytest.raises(InputError, match="Entity 0 of text 1"):
        bertie.plot_entities(["Paris", ""], [[], [{"start": 0, "end": 1, "label": "X"}]])


def test_a_type_looks_the_same_in_every_picture() -> None:
    assert look_of("PER") == look_of("B-PER") == look_of("person")
    assert len({look_of(label) for label in ("PER", "LOC", "ORG", "MISC", "DATE")}) == 5
    assert look_of("Chemical") == look_of("CHEMICAL") == (3, "dotted", None)
    assert look_of("Chemical") not in [look_of(label) for label in ("PER", "LOC", "ORG", "MISC", "DATE")]


def test_custom_colours() -> None:
    picture = bertie.plot_entities(SENTENCE, FOUND, colors={"PER": "#123456"})
    assert 'style="--kind:#123456"' in picture.html
    with pytest.raises(InputError, match="colors gives 'PER' the colour 'red;x'; write it as '#rrggbb'"):
        bertie.plot_entities(SENTENCE, FOUND, colors={"PER": "red;x"})


# How colour-blind eyes see linear red, green and blue: Machado, Oliveira and Fernandes 2009, severity 1.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    parts = np.array([*bytes.fromhex(colour[1:])]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ XYZ[1])


def lab(colour: str, vision: str) -> np.ndarray:
    """Return a colour in CIELAB (D65), where the smallest visible difference is about 2."""
    seen = XYZ @ np.clip(VISION[vision] @ linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_apart(palette: tuple[str, ...], vision: str) -> None:
    seen = [lab(colour, vision) for colour in palette]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 18


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(theme: int) -> None:
    """Checks the contrasts that WCAG 2.2 requires: 3 for lines, 4.5 for text, also on a marked background."""

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    def mixed(kind: str) -> str:
        pairs = zip(*(bytes.fromhex(colour[1:]) for colour in (kind, PAPER[theme])), strict=True)
        return "#" + bytes(round(0.18 * one + 0.82 * other) for one, other in pairs).hex()

    assert contrast(TEXT[theme], PAPER[theme]) > 7
    assert contrast(FAINT[theme], PAPER[theme]) > 4.5
    for kind in (LIGHT, DARK)[theme]:
        assert contrast(kind, PAPER[theme]) > 3
        assert contrast(TEXT[theme], mixed(kind)) > 4.5


def test_save(tmp_path: Path) -> None:
    picture = bertie.plot_entities("a \ud800", [])
    assert picture.save(tmp_path / "one.html").read_text(encoding="utf-8") == picture.html
    for name in ("one.png", "one.svg"):
        with pytest.raises(InputError, match=rf"saved as \.html, not as '{name}'"):
            picture.save(tmp_path / name)
    drawn = Picture("title", "<p>", "<svg>")
    assert drawn.save(str(tmp_path / "one.SVG")).read_text(encoding="utf-8") == drawn.svg
    with pytest.raises(InputError, match=r"saved as \.html or \.svg, not as 'one\.png'"):
        drawn.save(tmp_path / "one.png")
    with pytest.raises(CheckpointError, match="cannot write"):
        picture.save(tmp_path / "missing" / "one.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.SVG", "one.html"]


def test_a_notebook_shows_the_page_in_a_frame() -> None:
    picture = bertie.plot_entities('"<&>" text', [{"start": 0, "end": 2, "label": "X"}])

    class Frame(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.attributes = dict(attributes)

    frame = Frame()
    frame.feed(picture._repr_html_())
    assert frame.attributes["srcdoc"] == picture.html
    assert frame.attributes["sandbox"] == "allow-scripts"
    assert repr(picture).startswith("Picture('Entities: \"<&>\" text', ")


def test_characters_that_pages_forbid_are_replaced() -> None:
    assert (
        printable("a\t\n\x00\x1b\x7f\x85\ud800\ufffe\uffff\U0001ffffé")
        == "a\t\n\u2400\u241b\u2421" + "\ufffd" * 5 + "é"
    )
