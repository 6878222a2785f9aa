"""Streamers print what the reference's print, as tokens are generated."""

import threading

import pytest
import torch
import transformers
from tests.generation.test_generate import IDS, pair

import bertie

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghij",
    *(f"##{c}" for c in "klmnopqrs"),
    "中",
    "文",
    *"ABCDEFGHIJKLMN",
]


@pytest.fixture(scope="module")
def tokenizer() -> bertie.BertTokenizer:
    return bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}, do_lower_case=False)


@pytest.mark.parametrize("options", [{}, {"skip_prompt": True, "skip_special_tokens": True}])
def test_printed_text_is_the_references(tokenizer, options, capsys):
    shown = []
    for module, model in zip((bertie, transformers), pair(), strict=True):
        streamer = module.TextStreamer(tokenizer, **options)
        model.generate(IDS[:1], streamer=streamer, max_new_tokens=20, bos_token_id=1)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert len(shown[0]) > 20


def test_pieces_arrive_during_generation(tokenizer):
    model, streamer = pair()[0], bertie.TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60)
    thread = threading.Thread(
        target=model.generate, args=(IDS[:1],), kwargs={"streamer": streamer, "max_new_tokens": 20}
    )
    thread.start()
    pieces = list(streamer)
    thread.join()
    expected = model.generate(IDS[:1], max_new_tokens=20)[0, 6:]
    assert "".join(pieces) == tokenizer.decode(expected)
    assert len([piece for piece in pieces if piece]) > 3


def test_a_finished_line_is_shown_at_once(capsys):
    class Letters:
        def decode(self, ids):
            return "".join(map(chr, ids))

    shown = []
    for module in (bertie, transformers):
        streamer = module.TextStreamer(Letters())
        for letter in "a b\nc d\n\ne":
            streamer.put(torch.tensor([ord(letter)]))
        streamer.end()
        shown.append(capsys.readouterr().out)
    assert shown == ["a b\nc d\n\ne\n"] * 2


def test_several_prompts_are_refused(tokenizer):
    with pytest.raises(bertie.InputError, match="there are 3; give one prompt"):
        pair()[0].generate(IDS, streamer=bertie.TextStreamer(tokenizer), max_new_tokens=2)
