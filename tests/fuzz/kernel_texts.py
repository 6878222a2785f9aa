"""Random bytes for the kernel that reads texts: python kernel_texts.py count seed. A difference ends it with an error.

Buffers are exactly as large as they are said to be, so that sanitizers see every step beyond them. Behind the texts is
what the kernel may look at, and nothing else.
"""

import ctypes
import sys
from typing import Any

import numpy as np

from bertie.kernels import text_reader
from bertie.kernels.text_reader import TextReader
from bertie.tokenization.characters import VARIANTS, characters

AT_A_TIME = 500
LETTERS = ["a", "b", "A", "Z", "0", "e", "ing", "[", "]", "#", ".", " ", "\t", "\1", "é", "É", "ß", "İ", "ñ", "я", "Ж"]
LETTERS += [
    "你",
    "豈",
    "각",
    "\u0301",
    "\u302e",
    "\u3000",
    "،",
    "😀",
    "\U0001d15e",
    "\ufffd",
    "\u0958",
    "\uffff",
    "x" * 30,
]
PARTS = [letter.encode() for letter in LETTERS] + [b"\xff", b"\xc3", b"\xe4\xbd", b"\xf0\x9f", b"\xed\xa0\x80", b"\x80"]
ADDED = ["[MASK]", "a b", "éa", "ing", "\1", "  "]


def reader(chance: np.random.Generator) -> TextReader:
    """Return a reader of a random vocabulary, which may be tiny, with or without added tokens."""
    drawn = ["".join(chance.choice(LETTERS, chance.integers(1, 6))) for _ in range(chance.integers(0, 400))]
    tokens = dict.fromkeys(
        ["[UNK]", *drawn, *("##" + token for token in drawn[::2]), *LETTERS[:: chance.integers(1, 4)]]
    )
    written = [token for token in ADDED if chance.random() < 0.3]
    normal = [token for token in ("mask", "я", "x" * 101) if chance.random() < 0.2]
    lower, strip = VARIANTS[chance.integers(4)]
    forbidden = [(written, normal), ([], normal)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return TextReader(vocabulary, 0, characters(lower, strip), bool(chance.integers(2)), forbidden)


def random_texts(chance: np.random.Generator) -> list[bytes]:
    """Return texts of anything but NUL."""
    texts = []
    for _ in range(AT_A_TIME):
        size = int(chance.integers(0, 12)) if chance.random() < 0.97 else int(chance.integers(100, 400))
        if chance.random() < 0.2:
            texts.append(chance.integers(1, 256, size, np.uint8).tobytes())
        else:
            few = chance.integers(len(PARTS), size=chance.integers(1, 9))  # so that words come again
            texts.append(b"".join(PARTS[few[i]] for i in chance.integers(len(few), size=size)))
    return texts


class Memory:
    """Rows for one call, each array as large as it must be."""

    def __init__(self, chance: np.random.Generator, num_lines: int) -> None:
        self.lines = np.zeros(num_lines * 64 + 64, np.uint8)
        self.run_spans = np.zeros((num_lines, 21), np.uint8)
        self.frame = np.arange(chance.integers(1, 4), dtype=np.int64)
        self.most = int(chance.choice([0, 1, 3, 10, 1 << 40]))
        self.read_limit = self.most + int(chance.choice([1, 5, 1 << 40]))
        self.keep_last, self.which = int(chance.integers(2)), int(chance.integers(2))

    def grow(self) -> None:
        """Move the runs to a larger cache, as a call does."""
        lines, spans = self.lines, self.run_spans
        self.lines = np.zeros(4 * len(spans) * 64 + 64, np.uint8)
        self.run_spans = np.zeros((4 * len(spans), 21), np.uint8)
        old, new = (
            text_reader._Rows(
                lines=some.ctypes.data + -some.ctypes.data % 64, run_spans=places.ctypes.data, num_lines=len(places)
            )
            for some, places in ((lines, spans), (self.lines, self.run_spans))
        )
        functions: Any = text_reader.functions()
        functions.bertie_wordpiece_move(ctypes.byref(old), ctypes.byref(new))
        assert new.num_runs <= 2 * len(spans)

    def read(
        self, of: TextReader, raw: np.ndarray[Any, Any], count: int, capacity: int, lines: bool, spans: bool
    ) -> Any:
        ids, places = np.full(capacity, -7, np.int64), np.full((capacity, 3), -7, np.int32)
        counts = np.full((2, count), -7, np.int64)
        padded = np.concatenate([raw, np.zeros(len(text_reader._PADDING), np.uint8)])
        rows = text_reader._Rows(
            prefix=self.frame.tobytes(),
            suffix=self.frame.tobytes(),
            num_prefix=len(self.frame),
            num_suffix=len(self.frame) - 1,
            max_kept=self.most,
            read_limit=self.read_limit if lines else 1 << 40,
            keep_last=self.keep_last,
            which=self.which,
            ids=ids.ctypes.data,
            spans=places.ctypes.data if spans else None,
            capacity=capacity,
            kept=counts[0].ctypes.data,
            counted=counts[1].ctypes.data,
            lines=self.lines.ctypes.data + -self.lines.ctypes.data % 64 if lines else None,
            run_spans=self.run_spans.ctypes.data,
            num_lines=len(self.run_spans),
        )
        functions: Any = text_reader.functions()
        size = functions.bertie_wordpiece_read(of._address, padded.ctypes.data, len(raw), count, ctypes.byref(rows))
        if size < 0:
            return None
        return size, ids[:size].tolist(), counts.tolist(), places[:size] if spans else None


def main(count: int, seed: int) -> None:
    functions: Any = text_reader.functions()
    functions.bertie_wordpiece_read.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_long] * 2 + [ctypes.c_void_p]
    chance = np.random.default_rng(seed)
    for done in range(0, count, AT_A_TIME):
        if done % (40 * AT_A_TIME) == 0:
            of, memory = reader(chance), Memory(chance, 1 << int(chance.integers(1, 9)))
        if done % (40 * AT_A_TIME) == 20 * AT_A_TIME:
            memory.grow()
        texts = random_texts(chance)
        raw = np.frombuffer(b"".join(text + b"\0" for text in texts), np.uint8).copy()
        room = len(raw) + 2 * len(memory.frame) * len(texts) + 8
        placed = memory.read(of, raw, len(texts), room, True, True)
        assert placed is not None
        assert placed[:3] == memory.read(of, raw, len(texts), room, True, False)[:3]
        if memory.read_limit >= 1 << 40:  # what was met before changes nothing
            assert placed[:3] == memory.read(of, raw, len(texts), room, False, False)[:3]
        assert (placed[3][:, 0] <= placed[3][:, 1]).all()
        assert placed[3][:, 1].max(initial=0) <= max(map(len, texts))
        memory.read(of, raw, len(texts), int(chance.integers(0, placed[0] + 1)), True, True)  # too little room
        assert memory.read(of, raw, len(texts) + 1, room, True, False) is None
        assert len(texts) < 2 or memory.read(of, raw, len(texts) - 1, room, True, False) is None
        cut = chance.integers(0, len(raw))
        memory.read(of, raw[:cut].copy(), len(texts), room, True, True)  # no NUL at the end
    print(f"all {count}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
