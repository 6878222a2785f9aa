"""Training of a WordPiece vocabulary: words are counted, then the most frequent pairs of pieces are merged."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import InputError, counted, spelled
from bertie.progress import progress
from bertie.tokenization.wordpiece import MAX_WORD

PREFIX = "##"
# cleaning removes them from a text, but str.split() would split a word at some of them
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Pair = tuple[int, int]


def count_words(texts: Iterable[str], tokenizer: RustTokenizer) -> Counter[str]:
    """Return how often each word occurs in the texts, as the tokenizer normalizes and splits them.

    Strings between spaces are counted first, as they are written, so that each of them is normalized only once.
    Neither normalizing nor splitting looks beyond a space.
    """
    runs: Counter[str] = Counter()
    for text in texts:
        runs.update((_CONTROL.sub("", text) if _CONTROL.search(text) else text).split())
    words: Counter[str] = Counter()
    for run, count in runs.items():
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(run)):
            words[word] += count
    return words


def train_wordpiece(
    words: Mapping[str, int],  # word → how often it occurs
    size: int,  # special tokens included
    special_tokens: Sequence[str],  # without duplicates
    min_frequency: int = 2,  # of a pair that is merged
    limit_alphabet: int = 1000,  # the maximum number of characters; the most frequent are kept
) -> list[str]:
    """Return a vocabulary of exactly ``size`` tokens, the same for the same words in any order.

    The algorithm is byte-pair encoding (Sennrich et al. 2016, section 3.2) over pieces with the prefix ``##`` inside a
    word, as in the trainer of the package ``tokenizers``; WordPiece's own training (Schuster and Nakajima 2012, section
    3) chose by likelihood, and its code was never published. Counts are exact integers. Among equally frequent pairs,
    those that begin a word are merged first, since words are matched from their beginning, then in alphabetical order.

    The special tokens come first, then each character of the alphabet as the beginning of a word, then (except for
    those that only occur alone) as its continuation, then merged pieces in the order of merging. A word that is longer
    than `MAX_WORD` or has a character outside the alphabet is ignored: it is the unknown token whatever the pieces are.
    """
    room = size - len(special_tokens)
    words = {word: count for word, count in words.items() if len(word) <= MAX_WORD}
    alphabet = _alphabet(words, min(limit_alphabet, room // 2))
    if not alphabet:
        no_room = f"{len(special_tokens)} special tokens leave no room for a character"
        reason = no_room if room < 2 else "there are no words"
        raise InputError(f"A vocabulary of {size} tokens cannot be trained: {reason}.")
    known = set(alphabet)
    used = {word: count for word, count in words.items() if known.issuperset(word)}
    within = {character for word in used if len(word) > 1 for character in word}
    merges = _Merges([*alphabet, *(PREFIX + one for one in alphabet if one in within)], used)
    with progress("merging", room) as advance:
        advance(len(merges.pieces))
        while len(merges.pieces) < room and (pair := merges.most_frequent(max(min_frequency, 1))) is not None:
            merges.merge(pair)
            advance(1)
    if len(merges.pieces) < room:
        found = len(special_tokens) + len(merges.pieces)
        raise InputError(
            f"The texts give a vocabulary of {found:,} tokens, not of {size:,}: no other pair of pieces occurs "
            f"{counted(min_frequency, 'time')}. Ask for {found:,} or fewer, give more text, or lower "
            f"{spelled('min_frequency')}."
        )
    if twice := {"", *merges.pieces}.intersection(special_tokens):
        raise InputError(
            f"The special token {min(twice)!r} is empty or a piece of the texts' words; give it a name that no "
            "word can have, such as '[NEW]'."
        )
    return [*special_tokens, *merges.pieces]


def _alphabet(words: Mapping[str, int], limit: int) -> list[str]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    most_frequent = sorted(counts, key=lambda character: (-counts[character], character))[:limit]
    return sorted(most_frequent)


class _Merges:
    """The words as sequences of pieces, and how often each pair of pieces is adjacent in them."""

    def __init__(self, alphabet: list[str], words: Mapping[str, int]) -> None:
        self.pieces = alphabet
        self._numbers = {piece: number for number, piece in enumerate(alphabet)}
        self._counts = list(words.values())
        self._words = [[self._numbers[piece] for piece in _characters(word)] for word in words]
        self._frequency: Counter[Pair] = Counter()
        # a word stays listed after its last such pair is gone: searching it in vain is cheaper than keeping count
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place, (word, count) in enumerate(zip(self._words, self._counts, strict=True)):
            for pair in pairwise(word):
                self._frequency[pair] += count
                self._places[pair].add(place)
        self._heap = [self._entry(pair) for pair in self._frequency]
        heapify(self._heap)

    def _entry(self, pair: Pair) -> tuple[int, bool, str, str, Pair]:
        first, second = self.pieces[pair[0]], self.pieces[pair[1]]
        return -self._frequency[pair], first.startswith(PREFIX), first, second, pair

    def most_frequent(self, min_frequency: int) -> Pair | None:
        """Return the pair to be merged next, or None if none occurs ``min_frequency`` times."""
        while self._heap:
            minus, *_, pair = heappop(self._heap)
            now = self._frequency[pair]
            if now == -minus:
                return pair if now >= min_frequency else None
            # an outdated entry is never too low: a count that grew has a new entry
            if now >= min_frequency:
                heappush(self._heap, self._entry(pair))
        return None

    def merge(self, pair: Pair) -> None:
        """Merge the two pieces wherever they are adjacent. The merged piece may already exist, from another pair."""
        merged = self._number(self.pieces[pair[0]] + self.pieces[pair[1]].removeprefix(PREFIX))
        grown: set[Pair] = set()
        for place in self._places.pop(pair):
            self._merge_in(place, pair, merged, grown)
        del self._frequency[pair]
        for new in grown:
            heappush(self._heap, self._entry(new))

    def _number(self, piece: str) -> int:
        number = self._numbers.setdefault(piece, len(self.pieces))
        if number == len(self.pieces):
            self.pieces.append(piece)
        return number

    def _merge_in(self, place: int, pair: Pair, merged: int, grown: set[Pair]) -> None:
        """Merge within one word; ``grown`` gets the pairs that became more frequent."""
        first, second = pair
        word, count, frequency = self._words[place], self._counts[place], self._frequency
        here = 0
        while here < len(word) - 1:
            if word[here] == first and word[here + 1] == second:
                word[here : here + 2] = [merged]
                new = []
                if here > 0:
                    frequency[word[here - 1], first] -= count
                    new.append((word[here - 1], merged))
                if here + 1 < len(word):
                    frequency[second, word[here + 1]] -= count
                    new.append((merged, word[here + 1]))
                for one in new:
                    frequency[one] += count
                    self._places[one].add(place)
                    grown.add(one)
            here += 1


def _characters(word: str) -> list[str]:
    return [word[0], *(PREFIX + character for character in word[1:])]
