"""Streamers: text printed, or passed to an iterator, while it is generated."""

from collections.abc import Iterator
from queue import Queue
from typing import Any, Protocol

from bertie.errors import InputError
from bertie.tokenization.wordpiece import is_chinese


class Streamer(Protocol):
    """Receives ids from ``generate``: first the prompts ``[B, S]``, then the new ids ``[B]`` of each step."""

    def put(self, value: Any) -> None: ...

    def end(self) -> None: ...


class Decoding(Protocol):
    """The part of a tokenizer that a streamer uses."""

    def decode(self, token_ids: list[int], **options: Any) -> str: ...


class TextStreamer:
    """Print a text as its words are completed, for a single prompt.

    Args:
        tokenizer: decodes the ids.
        skip_prompt: whether to leave out the prompt.
        decode_kwargs: options of the tokenizer's ``decode``, such as ``skip_special_tokens=True``.

    Raises:
        InputError: there are several prompts.
    """

    def __init__(self, tokenizer: Decoding, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self._ids: list[int] = []
        self._shown = 0
        self._at_prompt = True

    def put(self, value: Any) -> None:
        """Add ids, and show the words that can no longer change."""
        if value.ndim > 1 and value.shape[0] > 1:
            raise InputError(f"A text streamer shows one text, but there are {value.shape[0]}; give one prompt.")
        is_prompt, self._at_prompt = self._at_prompt, False
        if is_prompt and self.skip_prompt:
            return
        self._ids.extend(value.reshape(-1).tolist())
        text = self.tokenizer.decode(self._ids, **self.decode_kwargs)
        # the last word may still grow, unless it ends with a character that is a word by itself
        is_complete = text.endswith("\n") or (text != "" and is_chinese(text[-1]))
        stop = len(text) if is_complete else text.rfind(" ") + 1
        fresh, self._shown = text[self._shown : stop], max(self._shown, stop)
        if text.endswith("\n"):
            self._ids, self._shown = [], 0
        self.on_finalized_text(fresh)

    def end(self) -> None:
        """Show the rest."""
        text = self.tokenizer.decode(self._ids, **self.decode_kwargs) if self._ids else ""
        rest = text[self._shown :]
        self._ids, self._shown, self._at_prompt = [], 0, True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print a piece of text; subclasses may override this."""
        print(text, flush=True, end="\n" if stream_end else "")


class TextIteratorStreamer(TextStreamer):
    """Yield pieces of a text by iteration while ``generate`` runs in another thread.

    Args:
        tokenizer, skip_prompt, decode_kwargs: as in `TextStreamer`.
        timeout: seconds to wait for a piece before ``queue.Empty`` is raised; None: forever.
    """

    def __init__(
        self, tokenizer: Decoding, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self.text_queue: Queue[str | None] = Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text_queue.put(text)
        if stream_end:
            self.text_queue.put(None)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self.text_queue.get(timeout=self.timeout)
        if text is None:
            raise StopIteration
        return text
