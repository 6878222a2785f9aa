"""Attention weights drawn: one large head or many small ones, and a page to choose among them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from bertie.messages import shortened
from bertie.pictures.colours import FAINT
from bertie.pictures.picture import drawing, escaped, page, read_part
from bertie.pictures.png import data_uri

CELL = 15
SMALL, GAP, MARGIN = 64, 6, 12
COLUMN = 6.7  # the width of a character at a font size of 11 pixels
MARKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
LONGEST = 24  # the most characters of a token beside the square; the page shows it whole


@dataclass(frozen=True)
class Heads:
    """What is drawn."""

    title: str
    tokens: tuple[str, ...]  # [S]
    tokens_cut: int  # that did not fit the model
    is_coarse: bool  # whether weights are drawn in coarse steps
    opacity: dict[tuple[int, int], NDArray[np.uint8]]  # (layer, head) → the opacity of its weights [S, S]

    @property
    def layers(self) -> list[int]:
        return sorted({layer for layer, _ in self.opacity})

    @property
    def heads(self) -> list[int]:
        return sorted({head for _, head in self.opacity})

    @cached_property
    def images(self) -> dict[tuple[int, int], str]:
        return {key: data_uri(opacity) for key, opacity in self.opacity.items()}


def drawing_of(shown: Heads) -> str:
    """Return the drawing: a single head with its tokens, or a grid of small heads, one layer per row."""
    return square(shown) if len(shown.opacity) == 1 else overview(shown)


def square(shown: Heads) -> str:
    """Return the first head's weights, with the tokens along the top and the left."""
    count = len(shown.tokens)
    names = [escaped(shortened(token, LONGEST)) for token in shown.tokens]
    room = max(cell_len(shortened(token, LONGEST)) for token in shown.tokens) * COLUMN + MARGIN
    (layer, head), image = next(iter(shown.images.items()))
    top = room + 20
    middles = [place * CELL + CELL / 2 for place in range(count)]
    rows = "".join(
        f'<text x="{room - 5:g}" y="{top + middle + 4:g}" text-anchor="end">{name}</text>\n'
        for name, middle in zip(names, middles, strict=True)
    )
    columns = "".join(
        f'<text transform="translate({room + middle + 4:g} {top - 5:g}) rotate(-90)">{name}</text>\n'
        for name, middle in zip(names, middles, strict=True)
    )
    side = count * CELL
    large = _image(image, room, top, side, 'id="large" image-rendering="pixelated"')
    content = (
        f'<text id="which" class="faint" x="{MARGIN}" y="16">layer {layer}, head {head}</text>\n{rows}{columns}'
        f'{large}<rect id="row" x="{room:g}" y="{top:g}" width="{side}" height="{CELL}" fill="none"/>\n'
        f'<rect x="{room:g}" y="{top:g}" width="{side}" height="{side}" fill="none" stroke="{FAINT[0]}"/>\n'
    )
    return drawing(room + side + MARGIN, top + side + MARGIN, shown.title, content)


def overview(shown: Heads) -> str:
    """Return all heads as small squares, one row per layer and one column per head."""
    left, top, step = 74, 34, SMALL + GAP
    rows = "".join(
        f'<text class="faint" x="{left - 8}" y="{top + row * step + SMALL / 2 + 4:g}" text-anchor="end">'
        f"layer {layer}</text>\n"
        for row, layer in enumerate(shown.layers)
    )
    columns = "".join(
        f'<text class="faint" x="{left + column * step + SMALL / 2:g}" y="{top - 8}" text-anchor="middle">'
        f"head {head}</text>\n"
        for column, head in enumerate(shown.heads)
    )
    content = "".join(
        _small(shown, layer, head, left + column * step, top + row * step)
        for row, layer in enumerate(shown.layers)
        for column, head in enumerate(shown.heads)
    )
    width, height = left + len(shown.heads) * step + MARGIN, top + len(shown.layers) * step + MARGIN
    return drawing(width, height, shown.title, rows + columns + content)


def page_of(shown: Heads) -> str:
    """Return the page: the text, the chosen head, and below it all heads to choose from."""
    several = len(shown.opacity) > 1
    tokens = "\n".join(f'<span tabindex="0">{escaped(token)}</span>' for token in shown.tokens)
    choices = f'<p class="choices">{_choice("layer", shown.layers)}{_choice("head", shown.heads)}</p>\n'
    marks = "".join(f'<span><i style="opacity:{weight**0.5:.3f}"></i>{weight:g}</span>' for weight in MARKS)
    coarse = "; weights are rounded to coarse steps, because there are so many" if shown.is_coarse else ""
    cut = f" {shown.tokens_cut:,} tokens did not fit the model and were left out." if shown.tokens_cut else ""
    body = (
        f"<h1>{escaped(shown.title)}</h1>\n"
        f'<p class="faint">Point at a token, or at a row of the square, to see what it attends to.{cut}</p>\n'
        f"{choices if several else ''}"
        f'<p class="tokens" id="tokens">\n{tokens}\n</p>\n<p id="said" aria-live="polite">&nbsp;</p>\n'
        '<noscript><p class="faint">Choosing needs JavaScript; all squares show without it.</p></noscript>\n'
        f'<div class="wide">\n{square(shown)}</div>\n<p class="legend faint">weight {marks}{coarse}</p>\n'
    )
    if several:
        body += f'<div class="wide">\n{overview(shown)}</div>\n'
    return page(shown.title, body, read_part("attention.js"))


def _choice(name: str, numbers: list[int]) -> str:
    options = "".join(f"<option>{number}</option>" for number in numbers)
    return f'<label>{name} <select id="{name}">{options}</select></label> '


def _small(shown: Heads, layer: int, head: int, x: float, y: float) -> str:
    where = f'data-layer="{layer}" data-head="{head}"'
    # enlarged cells keep sharp edges, shrunken ones are averaged
    edges = 'image-rendering="pixelated"' if len(shown.tokens) <= SMALL else ""
    return (
        f'<g {where} class="small"><title>layer {layer}, head {head}</title>'
        f'<rect x="{x - 0.5:g}" y="{y - 0.5:g}" width="{SMALL + 1}" height="{SMALL + 1}" fill="none" '
        f'stroke="{FAINT[0]}" stroke-opacity="0.4"/>{_image(shown.images[layer, head], x, y, SMALL, edges)}</g>\n'
    )


def _image(uri: str, x: float, y: float, side: float, more: str = "") -> str:
    # xlink:href, the older name of href, is what every SVG program supports
    return (
        f'<image {more} x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" preserveAspectRatio="none" '
        f'xlink:href="{uri}"/>\n'
    )
