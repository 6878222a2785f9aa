"""More words for a model's vocabulary: the frequent words of a domain that fall into many pieces."""

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
    """A tokenizer with more words, what these were before, and how many pieces a word of the texts has on average."""

    tokenizer: BertTokenizer
    pieces: dict[str, list[int]]
    before: float
    after: float


def find_words(texts: Iterable[str], tokenizer: BertTokenizer, count: int, min_frequency: int = 5) -> Extension:
    """Add to a vocabulary the ``count`` words that save the most pieces over all their occurrences.

    Words that the tokenizer cannot cut into pieces are not added: nothing is known of their meaning.
    """
    if not tokenizer.states_bert:
        raise InputError("Only the vocabulary of BERT's own tokenizer can be extended; this one runs another file.")
    if len(tokenizer) > tokenizer.vocab_size:
        raise InputError(
            f"The tokenizer has {len(tokenizer) - tokenizer.vocab_size} added tokens behind its vocabulary, where new "
            "words belong; begin with a model without them."
        )
    words = count_words(texts, tokenizer.backend_tokenizer)
    pieces = _pieces(words, tokenizer)
    spared = {word: (len(pieces[word]) - 1) * words[word] for word in words if words[word] >= min_frequency}
    found = sorted((word for word in spared if spared[word] > 0), key=lambda word: (-spared[word], word))[:count]
    if len(found) < count:
        often = f"{counted(len(found), 'word')} of several pieces that occur {counted(min_frequency, 'time')}"
        raise InputError(
            f"The texts have {often}, not {count:,}; ask for fewer words, or rarer ones "
            f"({spelled('min_frequency')}), or give more texts."
        )
    vocabulary = tokenizer.get_vocab()
    more = tokenizer.with_vocabulary([*sorted(vocabulary, key=vocabulary.__getitem__), *found])
    return Extension(
        more, {word: pieces[word] for word in found}, _mean(words, pieces), _mean(words, _pieces(words, more))
    )


@torch.no_grad()
def add_words(model: BertPreTrainedModel, pieces: dict[str, list[int]]) -> None:
    """Give a model embeddings of new words, behind the others: each the mean of those of its former pieces."""
    begin = model.config.vocab_size
    model.resize_token_embeddings(begin + len(pieces))
    decoder = model.get_output_embeddings()
    # a tied decoder's weight is the embeddings', and its rows are the same means
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
