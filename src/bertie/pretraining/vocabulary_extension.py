"""Extends a model's vocabulary by frequent words of a domain that are split into many pieces."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from bertie.errors import InputError, counted, spelled
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tokenization.fast import BertTokenizer
from bertie.tokenization.wordpiece_trainer import count_words


@dataclass(frozen=True)
class Extension:
    """A tokenizer with more words."""

    tokenizer: BertTokenizer
    pieces: dict[str, list[int]]  # new word → the ids of its former pieces
    before: float  # mean pieces per word of the texts, with the old tokenizer
    after: float  # and with the new one


def find_words(texts: Iterable[str], tokenizer: BertTokenizer, count: int, min_frequency: int = 5) -> Extension:
    """Add to a vocabulary the ``count`` words that save the most pieces over all their occurrences.

    Words that the tokenizer maps to [UNK] are not added, as they have no pieces to initialise embeddings from.
    """
    if not tokenizer.states_bert:
        raise InputError("Only the vocabulary of BERT's own tokenizer can be extended; this one is of another kind.")
    if len(tokenizer) > tokenizer.vocab_size:
        raise InputError(
            f"The tokenizer has {len(tokenizer) - tokenizer.vocab_size} added tokens after its vocabulary, where new "
            "words would go; start from a model without them."
        )
    words = count_words(texts, tokenizer.backend_tokenizer)
    pieces = _pieces(words, tokenizer)
    saved = {word: (len(pieces[word]) - 1) * words[word] for word in words if words[word] >= min_frequency}
    found = sorted((word for word in saved if saved[word] > 0), key=lambda word: (-saved[word], word))[:count]
    if len(found) < count:
        what = f"{counted(len(found), 'word')} of several pieces that occur {counted(min_frequency, 'time')}"
        raise InputError(
            f"The texts have {what}, not {count:,}; ask for fewer words, or rarer ones "
            f"({spelled('min_frequency')}), or give more texts."
        )
    vocabulary = tokenizer.get_vocab()
    extended = tokenizer.with_vocabulary([*sorted(vocabulary, key=vocabulary.__getitem__), *found])
    before, after = _mean(words, pieces), _mean(words, _pieces(words, extended))
    return Extension(extended, {word: pieces[word] for word in found}, before, after)


@torch.no_grad()
def add_words(model: BertPreTrainedModel, pieces: dict[str, list[int]]) -> None:
    """Append embeddings of new words to a model's, each the mean of those of its former pieces."""
    begin = model.config.vocab_size
    model.resize_token_embeddings(begin + len(pieces))
    decoder = model.get_output_embeddings()
    # a tied decoder shares the embeddings' weight; assigning the same means twice is harmless
    parts = [*model.get_input_embeddings().parameters(), *(decoder.parameters() if decoder is not None else ())]
    for number, former in enumerate(pieces.values(), begin):
        for part in parts:
            part[number] = part[former].float().mean(dim=0)


def _pieces(words: Iterable[str], tokenizer: BertTokenizer) -> dict[str, list[int]]:
    listed = list(words)
    return dict(zip(listed, tokenizer(listed, add_special_tokens=False)["input_ids"], strict=True))


def _mean(words: Counter[str], pieces: dict[str, list[int]]) -> float:
    """Return the mean number of pieces of a word, weighted by how often it occurs."""
    return sum(words[word] * len(pieces[word]) for word in words) / max(1, words.total())
