"""Resizing a model's vocabulary: word embeddings, decoder and its bias grow or shrink together."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bertie.errors import InputError, InputTypeError

if TYPE_CHECKING:
    from bertie.models.pretrained import BertPreTrainedModel


def resize_token_embeddings(
    model: "BertPreTrainedModel",
    new_num_tokens: int | None = None,
    pad_to_multiple_of: int | None = None,
    mean_resizing: bool = True,
) -> nn.Module:
    """Resize the vocabulary and return the word embeddings; new rows are the mean of the old ones (decision 15).

    Args:
        model: the model; its decoder, if it has one, grows or shrinks too.
        new_num_tokens: the new size; None keeps it (except for ``pad_to_multiple_of``).
        pad_to_multiple_of: round the size up to a multiple of this.
        mean_resizing: False initialises new rows randomly instead.

    Raises:
        InputError, InputTypeError: the new size or the multiple is not a positive integer.
    """
    embeddings = model.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        raise InputTypeError(
            f"The word embeddings are {type(embeddings).__name__}, whose size is fixed; resize the floating-point "
            "model and quantize it again."
        )
    size = embeddings.num_embeddings if new_num_tokens is None else new_num_tokens
    if not isinstance(size, int):
        raise InputTypeError(f"new_num_tokens must be an integer, not {type(size).__name__}.")
    if size < 1 or (pad_to_multiple_of is not None and pad_to_multiple_of < 1):
        raise InputError(
            f"A vocabulary of {size} tokens padded to a multiple of {pad_to_multiple_of} is invalid; both must be >= 1."
        )
    if pad_to_multiple_of is not None:
        size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
    std = None if mean_resizing else model.config.initializer_range
    # the modules are kept, so that hooks on them are too
    embeddings.weight, embeddings.num_embeddings = _resized(embeddings.weight, size, std), size
    if embeddings.padding_idx is not None and embeddings.padding_idx >= size:
        embeddings.padding_idx = None
    # separately: the embeddings may already have been resized through the inner encoder
    decoder = model.get_output_embeddings()
    if isinstance(decoder, nn.Linear):
        decoder.weight = _resized(decoder.weight, size, std)
    model.config.vocab_size = size
    model.tie_weights()
    return embeddings


def fit_decoder_bias(model: "BertPreTrainedModel") -> None:
    """Resize the decoder's bias, if it has one, to the number of rows of its weight."""
    decoder = model.get_output_embeddings()
    if isinstance(decoder, nn.Linear) and decoder.out_features != decoder.weight.shape[0]:
        decoder.out_features = decoder.weight.shape[0]
        if decoder.bias is not None:
            decoder.bias = _resized(decoder.bias, decoder.out_features, None)
        model.set_output_embeddings(decoder)


@torch.no_grad()
def _resized(old: Tensor, size: int, std: float | None) -> nn.Parameter:
    """Return ``old`` with ``size`` rows: new ones are the mean, or normal with standard deviation ``std``."""
    if isinstance(old, nn.Parameter) and old.shape[0] == size:
        return old
    kept = old[:size]
    shape = (size - kept.shape[0], *old.shape[1:])
    mean = old.float().mean(dim=0).to(old.dtype)
    rows = mean.expand(shape) if std is None else old.new_empty(shape).normal_(0.0, std)
    return nn.Parameter(torch.cat([kept, rows]), requires_grad=old.requires_grad)
