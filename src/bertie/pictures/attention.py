"""``bertie.plot_attention``: which tokens attend to which, in any layer and head."""

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, InputTypeError
from bertie.extras import need
from bertie.messages import shortened
from bertie.pictures.heads import Heads, drawing_of, page_of
from bertie.pictures.picture import Picture
from bertie.pictures.png import LEVELS, opacity_of

if TYPE_CHECKING:
    from torch import nn

# How many quantization steps weights are drawn in. All 144 heads of a base-size model fit in 4 MB with fine steps for
# up to 170 tokens, and in 8 MB with coarse ones, which are off by 0.01 at a weight of 0.1, for up to 512. A browser
# takes long to open larger pages.
FINE, COARSE = LEVELS - 1, 31
MAX_FINE_WEIGHTS, MAX_WEIGHTS = 2**22, 2**26


def plot_attention(
    model: "nn.Module",
    tokenizer: Any,
    text: str,
    text_pair: str | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> Picture:
    """Return a picture of the attention weights in ``text``: an interactive page and a drawing.

    Row ``i`` of a head's square shows how token ``i`` distributes its attention over all tokens; darker is more. The
    model runs once, in evaluation mode and through the dense backend, whichever backend it uses otherwise; it is left
    unchanged. A text that is too long for the model is cut, and the picture says so.

    Args:
        model: a bertie model of any class.
        tokenizer: its tokenizer.
        text: the text to read.
        text_pair: a second text, read together with the first.
        layer: one layer, counted from 0 (from the end if negative); None: all.
        head: one head, counted in the same way; None: all.

    Raises:
        InputTypeError: ``text`` is not a str, or ``model`` not a model.
        InputError: there is no such layer or head, nothing to draw, or more weights than fit in a page.
    """
    if not isinstance(model, need("torch", "torch", "A picture of attention weights").nn.Module):
        given = type(model).__name__
        raise InputTypeError(f"model is a {given}; give a bertie model, which AutoModel.from_pretrained loads.")
    for name, value in (("text", text), ("text_pair", text_pair)):
        if not isinstance(value, str) and (value is not None or name == "text"):
            raise InputTypeError(f"{name} is a {type(value).__name__}; give one str: a picture shows a single text.")
    config: Any = model.config
    layers = _indices("layer", layer, config.num_hidden_layers)
    heads = _indices("head", head, config.num_attention_heads)
    inputs, tokens_cut = _encode(tokenizer, text, text_pair, config)
    steps = _steps(len(layers) * len(heads), len(inputs["input_ids"]))
    weights = _weights(model, inputs)
    shown = Heads(
        title=f"Attention: {shortened(' '.join(text.split()), 60)}",
        tokens=tuple(tokenizer.convert_ids_to_tokens(inputs["input_ids"])),
        tokens_cut=tokens_cut,
        is_coarse=steps < FINE,
        opacity={(one, other): opacity_of(weights[one][other], steps) for one in layers for other in heads},
    )
    return Picture(shown.title, page_of(shown), drawing_of(shown))


def _indices(name: str, index: int | None, count: int) -> list[int]:
    if index is None:
        return list(range(count))
    try:
        place = operator.index(index)
    except TypeError:
        raise InputTypeError(f"{name} is {index!r:.40}; give an integer, or None for all.") from None
    if not -count <= place < count:
        raise InputError(f"{name} is {place}; the model has {name}s 0 to {count - 1} (-1 is the last).")
    return [place % count]


def _encode(tokenizer: Any, text: str, text_pair: str | None, config: Any) -> tuple[dict[str, list[int]], int]:
    """Return ids and token types of one row, and how many tokens were cut."""
    has_types = config.type_vocab_size > 0
    kinds = {"return_token_type_ids": has_types, "return_attention_mask": False, "verbose": False}
    limit = min(tokenizer.model_max_length, config.max_tokens)
    whole = tokenizer(text, text_pair, **kinds)
    cut = len(whole["input_ids"]) - limit
    row = tokenizer(text, text_pair, truncation=True, max_length=limit, **kinds) if cut > 0 else whole
    if not row["input_ids"]:
        raise InputError("The text has no tokens, so there is no attention to draw; give a text with words.")
    return {name: list(row[name]) for name in ("input_ids", "token_type_ids") if name in row}, max(cut, 0)


def _steps(heads: int, tokens: int) -> int:
    """Return how many quantization steps the weights are drawn in."""
    count = heads * tokens**2
    if count > MAX_WEIGHTS:
        raise InputError(
            f"{heads} heads of {tokens} tokens are {count:,} weights, and a page holds at most {MAX_WEIGHTS:,}; "
            "name a layer or a head, or give a shorter text."
        )
    return FINE if count <= MAX_FINE_WEIGHTS else COARSE


def _weights(model: "nn.Module", inputs: dict[str, list[int]]) -> list[NDArray[np.float32]]:
    """Return the attention weights of every layer, ``[H, S, S]``."""
    import torch

    from bertie.capture import keep_modes

    device = next(model.parameters()).device
    tensors = {name: torch.tensor([values], device=device) for name, values in inputs.items()}
    encoder: Any = getattr(model, "base_model", model)
    with keep_modes(model), torch.no_grad():
        model.eval()
        attentions = encoder(**tensors, output_attentions=True, return_dict=True).attentions
    if not attentions or attentions[0] is None:
        raise InputError("The model returned no attention weights; give a bertie model, or load it as 'eager'.")
    return [one[0].float().cpu().numpy() for one in attentions]
