"""A picture: an HTML page, and for attention also an SVG drawing, each self-contained."""

import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bertie.errors import InputError
from bertie.files import write_text
from bertie.pictures.colours import DARK, FAINT, INK, LIGHT, LINES, PAPER, TEXT

FONT = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
# nothing is fetched from anywhere, whatever a text contains
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

# control characters (except tab and line breaks), lone surrogates, and the two noncharacters that end each plane
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
    + "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
    + "]"
)
# Unicode has a visible symbol for each control character
_SYMBOLS = {**{code: chr(0x2400 + code) for code in range(0x20)}, 0x7F: "\u2421"}


@dataclass(frozen=True, repr=False)
class Picture:
    """What `bertie.plot_attention` and `bertie.plot_entities` return; notebooks display it.

    Attributes:
        title: a few words on what is shown.
        html: a self-contained page with styles, drawings, and a short script if there is something to choose.
        svg: a drawing without a script, for papers and slides; None if there is only a page (entities).
        height: the approximate height of the page in pixels; a notebook shows up to 720.
    """

    title: str
    html: str
    svg: str | None
    height: int = 720

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page (``.html``) or the drawing (``.svg``), as the file's suffix says, and return the path.

        Raises:
            InputError: the suffix is another one, or ``.svg`` and there is no drawing.
            CheckpointError: the file cannot be written; its old content is then kept.
        """
        path = Path(path)
        content = {".html": self.html, ".svg": self.svg}.get(path.suffix.lower())
        if content is None:
            allowed = "This picture is saved as .html" if self.svg is None else "A picture is saved as .html or .svg"
            raise InputError(f"{allowed}, not as {path.name!r}; change the file's suffix.")
        write_text(path, content)
        return path

    def __repr__(self) -> str:
        return f"Picture({self.title!r}, {len(self.html):,} bytes of HTML; see it with .save('picture.html'))"

    def _repr_html_(self) -> str:
        # in an iframe, so that the notebook's styles and the page's do not mix and the script cannot reach outside
        height = min(self.height, 720)
        return (
            f'<iframe title="{escaped(self.title)}" srcdoc="{escape(self.html, quote=True)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{height}px;border:0"></iframe>'
        )


def page(title: str, body: str, script: str = "") -> str:
    """Return a complete HTML page; ``title`` is plain text, ``body`` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{_page_style()}</style>\n</head>\n<body>\n{body}\n"
        f"{f'<script>{chr(10)}{script}</script>{chr(10)}' if script else ''}</body>\n</html>\n"
    )


def drawing(width: float, height: float, title: str, content: str) -> str:
    """Return a complete SVG drawing of ``width`` × ``height`` pixels; ``title`` is plain text, ``content`` is SVG."""
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{size} font-family="{FONT}" font-size="11" role="img">\n<title>{escaped(title)}</title>\n'
        f'<style>{_drawing_style()}</style>\n<rect class="paper" width="100%" height="100%"/>\n{content}</svg>\n'
    )


def read_part(name: str) -> str:
    """Return a style sheet or script of this package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _page_style() -> str:
    themes = []
    for theme, colours in enumerate((LIGHT, DARK)):
        kinds = " ".join(f"--k{number}: {colour};" for number, colour in enumerate(colours))
        themes.append(
            f"--ink: {INK[theme]}; --paper: {PAPER[theme]}; --text: {TEXT[theme]}; --faint: {FAINT[theme]}; {kinds}"
        )
    kinds = "".join(f".k{number} {{ --kind: var(--k{number}); }}\n" for number in range(len(LIGHT)))
    lines = "".join(f".{line} {{ --line: {line}; }}\n" for line in LINES)
    return (
        f":root {{ color-scheme: light dark; {themes[0]} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {themes[1]} }} }}\n{kinds}{lines}{read_part('page.css')}"
    )


def _drawing_style() -> str:
    """Return plain CSS rules, light first: programs without media queries draw dark on light."""
    light, dark = (
        f".paper{{fill:{PAPER[theme]}}}text{{fill:{TEXT[theme]}}}text.faint{{fill:{FAINT[theme]}}}" for theme in (0, 1)
    )
    return f"{light}@media (prefers-color-scheme:dark){{{dark}image{{filter:brightness(1.5)}}}}"


def printable(text: str) -> str:
    """Return ``text`` with each character that HTML or XML forbids replaced by a visible symbol for it."""
    return _FORBIDDEN.sub(lambda found: _SYMBOLS.get(ord(found[0]), "\ufffd"), text)


def escaped(text: str) -> str:
    """Return ``text`` escaped for use between tags and inside quotes."""
    return escape(printable(text), quote=True)
