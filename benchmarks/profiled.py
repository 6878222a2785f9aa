"""Where the time of one batch goes, by PyTorch's profiler: the share of each operator, and the products' GFLOP/s.

``--texts 1`` is a query; ``--threads 1`` is how pipelines compute each of several batches at once.
"""

import argparse
from typing import Any

import torch
from texts import full
from torch.profiler import ProfilerActivity, profile

import bertie
from bertie.bench.machine import describe
from bertie.hub import default_embedding_model

PASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_embedding_model()), help="a folder")
    parser.add_argument("--texts", type=int, default=32, help="how many texts are in the batch")
    parser.add_argument("--tokens", type=int, default=32, help="how many tokens each has")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, default=10, help="how many operators are printed")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model: Any = bertie.AutoModel.from_pretrained(given.model, add_pooling_layer=False)
    tokenizer = bertie.AutoTokenizer.from_pretrained(given.model)
    found = full(given.texts, given.tokens, lambda text: len(tokenizer(text)["input_ids"]))
    packed = tokenizer(found, truncation=True, max_length=given.tokens, return_tensors="packed")
    print(f"{given.texts} texts of {given.tokens} tokens, {given.threads} threads, {describe()}\n")
    print(_table(model, packed, given.rows))


def _table(model: Any, packed: Any, rows: int) -> str:
    with torch.inference_mode():
        for _ in range(PASSES):
            model(packed)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(PASSES):
                model(packed)
    spent = {each.key: each.self_cpu_time_total / PASSES / 1e3 for each in found.key_averages()}
    whole = sum(spent.values())
    lines = [
        f"| {name.partition('::')[2] or name} | {spent[name]:.2f} | {spent[name] / whole:.0%} |"
        for name in sorted(spent, key=lambda name: -spent[name])[:rows]
    ]
    products = sum(time for name, time in spent.items() if name in ("aten::addmm", "mkldnn::_linear_pointwise"))
    rate = f"products: {_work(model) * packed.num_tokens / products / 1e6:.0f} GFLOP/s" if products else ""
    return "\n".join(["| operator | ms | share |", "|---|--:|--:|", *lines, f"\n{whole:.1f} ms a batch; {rate}"])


def _work(model: Any) -> int:
    """Return the operations of the blocks' products for one token."""
    return sum(2 * layer.weight.numel() for layer in model.encoder.modules() if isinstance(layer, torch.nn.Linear))


if __name__ == "__main__":
    main()
