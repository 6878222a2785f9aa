"""Markup in texts is escaped in a report, and figures are readable."""

import pytest

from bertie.markdown import number, plain
from bertie.messages import duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![x](http://e.org/x.png)", r"!\[x\](http://e.org/x.png)"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a\x1b[31mred\u202e`b`", r"a \[31mred \`b\`"),
        ("one\n\n# two", "one # two"),
        ("_so_ f1_macro __x", r"\_so\_ f1_macro \_\_x"),
    ],
)
def test_markup_is_escaped(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.9, "1 min 0 s"), (7800, "2 h 10 min")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_numbers() -> None:
    assert [number(value) for value in (0.0, 0.00042, 1234567.0, None, -0.5)] == [
        "0.000",
        "0.00042",
        "1.235e+06",
        "undefined",
        "-0.500",
    ]
