"""Tokens per second of the engine and of ``generate``, and of transformers with a dynamic and a static cache, in turn.

python benchmarks/generation.py [--layers 12] [--width 768] [--new 32] [--rounds 5] [--cases "8 mixed" …] [--profile]
python benchmarks/generation.py --int8 TOKENIZER --cases 1 8

Weights are random; prompts have the lengths of real texts, one in eight a whole review. All arms generate the same
tokens, except the int8 engine (decoders only, calibrated with a tokenizer of BERT's vocabulary).
"""

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import transformers

import bertie
from bertie.engine import Engine
from bertie.tasks.features import Features
from texts import mixed

CASES: dict[str, tuple[int, int | None, dict[str, int]]] = {  # prompts, tokens of each (None: mixed), options
    "1": (1, 32, {}),
    "8": (8, 32, {}),
    "8 mixed": (8, None, {}),
    "8 mixed, 4 beams": (8, None, {"num_beams": 4}),
    "8 mixed sources": (8, None, {}),  # of an encoder-decoder
    "8 mixed sources, 4 beams": (8, None, {"num_beams": 4}),
}
Generate = Callable[..., torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--new", type=int, default=32, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--int8", metavar="TOKENIZER", help="a folder with BERT's tokenizer; the engine in int8, too")
    parser.add_argument("--profile", action="store_true", help="print where bertie's time goes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.cases:
        ours, arms = _arms(given.layers, given.width, "sources" in name)
        if given.int8 and "sources" not in name:
            arms["int8"] = partial(_on_engine, _in_int8(ours, given.int8))
        rows, length, options = CASES[name]
        prompts = _prompts(rows, length, on_left="sources" not in name)
        asked = {**prompts, **options, "max_new_tokens": given.new, "min_new_tokens": given.new, "bos_token_id": 1}
        seconds = _timed(arms, given.rounds, asked)
        speeds = {arm: rows * given.new / median(each) for arm, each in seconds.items()}
        figures = ", ".join(f"{arm} {speed:.1f}" for arm, speed in speeds.items())
        ratios = ", ".join(f"{speed / speeds['transformers']:.2f} x" for speed in speeds.values())
        widths = prompts["attention_mask"].sum(1).tolist()
        print(f"{name} (prompts of {min(widths)} to {max(widths)}): tokens/s of processor time {figures}; {ratios}")
        if given.profile:
            _profile(partial(ours.generate, **asked))


def _arms(layers: int, width: int, pair: bool) -> tuple[torch.nn.Module, dict[str, Generate]]:
    """Return bertie's decoder, or ``pair`` of encoder and decoder, and each arm's ``generate``."""
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
    }
    torch.manual_seed(0)
    both = []
    for kind in (transformers, bertie):
        if pair:
            halves = kind.BertConfig(**sizes), kind.BertConfig(**sizes)
            tokens = {"decoder_start_token_id": 101, "pad_token_id": 0}
            config = kind.EncoderDecoderConfig.from_encoder_decoder_configs(*halves, **tokens)
            both.append(kind.EncoderDecoderModel(config).eval())
        else:
            both.append(kind.BertLMHeadModel(kind.BertConfig(**sizes, is_decoder=True)).eval())
    theirs, ours = both
    ours.load_state_dict(theirs.state_dict())
    return ours, {
        "engine": partial(_on_engine, Engine.of(ours)),
        "bertie": ours.generate,
        "transformers": theirs.generate,
        "static": partial(theirs.generate, cache_implementation="static", disable_compile=True),
    }


def _in_int8(model: torch.nn.Module, tokenizer: str) -> Engine:
    return Engine.of(bertie.quantize(model, texts=mixed(16), tokenizer=bertie.BertTokenizer.from_pretrained(tokenizer)))


def _on_engine(
    engine: Engine, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: object
) -> torch.Tensor:
    """Return what the engine generates, in the format of a model's ``generate``."""
    real, lengths = attention_mask.bool(), attention_mask.sum(1).tolist()
    marks = [0] * len(lengths), [False] * len(lengths)
    return torch.from_numpy(engine.generate(Features(input_ids[real].numpy(), None, lengths, *marks), options))


def _prompts(rows: int, length: int | None, on_left: bool) -> dict[str, torch.Tensor]:
    """Return random ids, padded on one side; mixed lengths are those of texts: their words and a third more."""
    lengths = [
        length or min(len(text.split()) * 4 // 3, 256) for text in (mixed(rows) if length is None else [""] * rows)
    ]
    draw = random.Random(0)
    texts = [[draw.randrange(1000, 30_000) for _ in range(each)] for each in lengths]
    blanks = [[0] * (max(lengths) - len(text)) for text in texts]
    ids = torch.tensor([blank + text if on_left else text + blank for blank, text in zip(blanks, texts, strict=True)])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def _timed(arms: dict[str, Generate], rounds: int, asked: dict[str, object]) -> dict[str, list[float]]:
    """Return the processor time of each arm in each round but the first."""
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(rounds + 1):
        found = {}
        for arm, generate in arms.items():
            begin = time.process_time()
            found[arm] = generate(**asked)
            if number:
                seconds[arm].append(time.process_time() - begin)
        same = all(torch.equal(each, found["bertie"]) for arm, each in found.items() if arm != "int8")
        if number == 0 and not same:
            print("tokens differ")
    return seconds


def _profile(run: Callable[[], object]) -> None:
    with cProfile.Profile() as profile:
        run()
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
