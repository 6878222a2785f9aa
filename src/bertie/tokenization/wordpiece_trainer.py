"""Training of a WordPiece vocabulary: words are counted, then the pairs of pieces that are most frequent are merged."""

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
# what cleaning takes out of a text; str.split() would cut a word at some of them
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Pair = tuple[int, int]


def count_words(texts: Iterable[str], tokenizer: RustTokenizer) -> Counter[str]:
    """Return how often each word occurs in the texts, as the tokenizer normalizes and splits them.

    Whatever stands between two blanks is counted as it is written first, so that each such run of characters is
    normalized once, however often it occurs. Neither normalizing nor splitting looks beyond a blank.
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
    words: Mapping[str, int],  # and how often each occurs
    size: int,  # special tokens included
    special_tokens: Sequence[str],  # each once
    min_frequency: int = 2,  # of a pair that is merged
    limit_alphabet: int = 1000,  # the most characters, of which the most frequent are taken
) -> list[str]:
    """Return a vocabulary of exactly ``size`` entries, the same for the same words in whatever order.

    The algorithm is byte-pair encoding (Sennrich et al. 2016, section 3.2) over pieces that carry ``##`` inside a word,
    as in the trainer of the package ``tokenizers``; WordPiece's own training (Schuster and Nakajima 2012, section 3)
    chose by likelihood, and was never published as code. Counts are exact integers. Of pairs equally frequent, one that
    begins words is merged first, since words are matched from their beginning, and then the first in the alphabet.

    The special tokens come first, then each character of the alphabet as it begins a word and (but for signs that only
    stand alone) as it continues one, then merged pieces in the order of merging. A word that is longer than `MAX_WORD`,
    or has a character outside the alphabet, is the unknown token whatever its pieces are, so it has no say.
    """
    room = size - len(special_tokens)
    words = {word: count for word, count in words.items() if len(word) <= MAX_WORD}
    alphabet = _alphabet(words, min(limit_alphabet, room // 2))
    if not alphabet:
        no_room = f"{len(special_tokens)} special tokens leave room for no character"
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
            f"The texts give a vocabulary of {found:,} tokens, not of {size:,}: no other two pieces stand together "
            f"{counted(min_frequency, 'time')}. Ask for {found:,} or fewer, give more text, or lower "
            f"{spelled('min_frequency')}."
        )
    if twice := {"", *merges.pieces}.intersection(special_tokens):
        raise InputError(
            f"The special token {min(twice)!r} is empty or a piece of the texts' own words; give it a name that no "
            "word has, such as '[NEW]'."
        )
    return [*special_tokens, *merges.pieces]


def _alphabet(words: Mapping[str, int], limit: int) -> list[str]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    most = sorted(counts, key=lambda character: (-counts[character], character))[:limit]
    return sorted(most)


class _Merges:
    """Words as pieces, to which merging adds, and how often each two pieces stand together in them."""

    def __init__(self, alphabet: list[str], words: Mapping[str, int]) -> None:
        self.pieces = alphabet
        self._numbers = {piece: number for number, piece in enumerate(alphabet)}
        self._counts = list(words.values())
        self._words = [[self._numbers[piece] for piece in _characters(word)] for word in words]
        self._frequency: Counter[Pair] = Counter()
        # a word stays listed after its last such pair is gone: looking for it in vain is cheaper than keeping count
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

    def most_frequent(self, least: int) -> Pair | None:
        """Return the pair to be merged next, unless none occurs ``least`` times."""
        while self._heap:
            minus, *_, pair = heappop(self._heap)
            now = self._frequency[pair]
            if now == -minus:
                return pair if now >= least else None
            # an entry never says too little: a count that grew got an entry of its own
            if now >= least:
                heappush(self._heap, self._entry(pair))
        return None

    def merge(self, pair: Pair) -> None:
        """Make one piece of the two wherever they stand together. The piece may exist, made of another two."""
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
