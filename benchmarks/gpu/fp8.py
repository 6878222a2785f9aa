"""FP8 beside bf16 on a GPU: products by ``torch._scaled_mm`` and a whole model, with the quality they cost.

Activations are scaled per token, weights per row. The gate: 1.3 times as fast as bf16, the work of scaling included,
and the worst text's cosine at least 0.99; else FP8 stays out. Random weights (the default) show the speed; what the
numbers lose shows in a real model only: ``--model FOLDER``.

    PYTHONPATH=src python benchmarks/gpu/fp8.py
"""

import copy
import time
from typing import Any

import torch
import torch.nn.functional as F
from harness import arguments, closeness, config, in_turn, lengths, packed, pair, report, table, texts, wait
from torch import Tensor, nn

import bertie

FP8 = torch.float8_e4m3fn
LARGEST = 448.0


def scaled(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``values [N, in]`` as FP8 and each row's scale ``[N, 1]`` in float32."""
    scale = values.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (values / scale).clamp(-LARGEST, LARGEST).to(FP8), scale


def product(x: Tensor, scale_x: Tensor, weight: Tensor, scale_w: Tensor) -> Tensor:
    """Return ``x [T, in]`` times ``weight [out, in]`` in bf16."""
    if x.is_cuda:
        return torch._scaled_mm(x, weight.t(), scale_x, scale_w.t(), out_dtype=torch.bfloat16, use_fast_accum=True)
    return ((x.float() * scale_x) @ (weight.float() * scale_w).t()).bfloat16()


class Fp8Linear(nn.Module):
    """A linear layer with FP8 weights; what comes in is scaled per token."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = scaled(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return product(*scaled(x), self.weight, self.scale) + self.bias


def main() -> None:
    options = arguments(
        "FP8",
        shapes={"nargs": "+", "default": ["base", "large"]},
        model={"help": "a folder with a real model, for the whole model's numbers"},
    )
    shapes = ["tiny"] if options.tiny else options.shapes
    results = {}
    for shape in shapes:
        fields = config(shape)
        results[f"{shape}, products"] = products(fields, 64 if options.tiny else 32_768, options)
        table(f"{shape}: products", results[f"{shape}, products"])
        results[f"{shape}, model"] = whole(fields, options)
        table(f"{shape}: whole model, mixed lengths", results[f"{shape}, model"])
    report("fp8", options, results)


def products(fields: dict[str, Any], rows: int, options: Any) -> list[dict[str, Any]]:
    """Time each of a block's products in bf16, in FP8 with given numbers, and in FP8 with compiled scaling."""
    width, inner, found = fields["hidden_size"], fields["intermediate_size"], []
    scaling = torch.compile(scaled, dynamic=True, backend="eager" if options.tiny else "inductor")
    for taken, given in ((width, width), (width, 3 * width), (width, inner), (inner, width)):
        x = torch.randn(rows, taken, device=options.device, dtype=torch.bfloat16)
        weight = torch.randn(given, taken, device=options.device, dtype=torch.bfloat16) / taken**0.5
        w8, x8 = scaled(weight), scaled(x)
        ways = {
            "bf16": lambda x=x, weight=weight: F.linear(x, weight),
            "fp8": lambda x8=x8, w8=w8: product(*x8, *w8),
            "fp8 + scaling": lambda x=x, w8=w8: product(*scaling(x), *w8),
        }
        times = {name: repeated(way, options) for name, way in ways.items()}
        close = closeness(ways["fp8 + scaling"](), ways["bf16"]())
        rate = {name: 2 * rows * taken * given / taken_s / 1e12 for name, taken_s in times.items()}
        found.append(
            {"product": f"{rows} x {taken} x {given}"}
            | {f"{name}, TFLOP/s": value for name, value in rate.items()}
            | {"x": times["bf16"] / times["fp8 + scaling"], "worst cosine": close["cosine_worst"]}
        )
    return found


def repeated(way: Any, options: Any) -> float:
    """Return the seconds of one call, of many in a row."""
    count = 2 if options.tiny else 50
    for _ in range(3):
        way()
    wait(options.device)
    start = time.perf_counter()
    for _ in range(count):
        way()
    wait(options.device)
    return (time.perf_counter() - start) / count


def whole(fields: dict[str, Any], options: Any) -> list[dict[str, Any]]:
    """Time the compiled encoder in bf16 and with FP8 products in all blocks, and compare texts' vectors."""
    backend = "eager" if options.tiny else "inductor"
    if options.model:
        model = bertie.BertModel.from_pretrained(options.model, dtype=torch.bfloat16).to(options.device)
    else:
        _, model = pair("BertModel", fields, options.device, torch.bfloat16)
    model.eval()
    counts = sorted(lengths("mixed", 8 if options.tiny else 1200), reverse=True)
    batch = packed(texts(counts)).to(options.device)
    eighth = copy.deepcopy(model)
    for block in eighth.encoder.layer:
        for part in [part for part in block.modules() if not isinstance(part, nn.Linear)]:
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, Fp8Linear(child))
    engines = {"bf16": bertie.compile(model, backend=backend), "fp8": bertie.compile(eighth, backend=backend)}
    with torch.inference_mode():
        vectors = {name: batch.first(engine(batch).last_hidden_state) for name, engine in engines.items()}
        runs = {name: (lambda engine=engine: engine(batch)) for name, engine in engines.items()}
        times = in_turn(runs, options.rounds, options.device)
    return [
        {
            "engine": name,
            "tokens/s": sum(counts) / times[name]["median_s"],
            "x bf16": times["bf16"]["median_s"] / times[name]["median_s"],
            **closeness(vectors[name], vectors["bf16"]),
        }
        for name in engines
    ]


if __name__ == "__main__":
    main()
