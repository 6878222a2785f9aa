"""Is the GPU path right? Backends against float64 in values and gradients, and the tests that are marked cuda.

PYTHONPATH=src python benchmarks/gpu/parity.py
"""

import subprocess
import sys
import time
from typing import Any

import torch
from harness import arguments, config, packed, pair, rectangle, report, table, texts, wait

import bertie
from bertie.attention import attend

LENGTHS = (3, 128, 64, 0, 1, 511, 17, 128)


def main() -> None:
    options = arguments("Parity")
    results: dict[str, Any] = {"backends": backends(options)}
    table("attention: error against float64, as a share of the largest number", results["backends"])
    results["model"] = models(options)
    table("BertModel against transformers in float32 (cosine of every token, worst)", results["model"])
    if options.device == "cuda":
        results["operators"] = operators()
        table("the public variable-length function and the operator underneath it, microseconds", results["operators"])
        marked = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "addopts=",
            "--import-mode=importlib",
            "-m",
            "cuda",
            "tests",
        ]
        results["tests"] = subprocess.run(marked, check=False).returncode
        print(f"the tests marked cuda: {'passed' if results['tests'] == 0 else 'FAILED'}", flush=True)
    report("parity", options, results)


def backends(options: Any) -> list[dict[str, Any]]:
    """Return each backend's worst error of context and gradients against the dense one in float64."""
    on_gpu = options.device == "cuda"
    packing = bertie.Packed.from_lists([[1] * length for length in LENGTHS]).to(options.device)
    exact = [torch.randn(packing.num_tokens, 4, 64, device=options.device, dtype=torch.float64) for _ in range(3)]
    names = ("varlen", "grouped", "dense") if on_gpu else ("grouped", "dense")
    found = []
    for dtype in (torch.bfloat16, torch.float16) if on_gpu else (torch.float32,):
        rounded = [each.to(dtype) for each in exact]
        for causal in (False, True):
            expected = values_and_gradients([each.double() for each in rounded], packing, causal, "dense")
            for name in names:
                got = values_and_gradients(rounded, packing, causal, name)
                errors = [
                    ((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(got, expected, strict=True)
                ]
                row = dict(zip(("context", "dq", "dk", "dv"), errors, strict=True))
                found.append({"backend": name, "dtype": str(dtype)[6:], "causal": causal, **row})
                assert max(errors) < 0.05, found[-1]
    return found


def values_and_gradients(qkv: list[torch.Tensor], packing: Any, causal: bool, backend: str) -> list[torch.Tensor]:
    leaves = [each.clone().requires_grad_() for each in qkv]
    context, _ = attend(*leaves, packing, causal=causal, backend=backend)
    return [context.detach(), *torch.autograd.grad(context.to(torch.float64).square().sum(), leaves)]


def models(options: Any) -> list[dict[str, Any]]:
    """Return how close the encoder's vectors are, computed in every way it can be."""
    shape = "tiny" if options.tiny else "base"
    theirs, ours = (model.eval() for model in pair("BertModel", config(shape), options.device, torch.float32))
    ids = texts([length for length in LENGTHS if length])
    inputs = {name: value.to(options.device) for name, value in rectangle(ids).items()}
    batch, found = packed(ids).to(options.device), []
    with torch.inference_mode():
        exact = batch.unpad(theirs(**inputs).last_hidden_state)
        for dtype in (torch.float32, torch.bfloat16, torch.float16) if options.device == "cuda" else (torch.float32,):
            for compiled in (False, True):
                model = ours.to(dtype)
                if compiled:
                    model = bertie.compile(model, backend="eager" if options.tiny else "inductor")
                for _ in range(3):  # the third run replays a graph, where one serves
                    got = model(batch).last_hidden_state
                close = torch.nn.functional.cosine_similarity(got.float(), exact, dim=-1).min().item()
                found.append({"dtype": str(dtype)[6:], "compiled": compiled, "worst cosine": close})
                assert close > 0.995, found[-1]
            ours = bertie.BertModel(ours.config).to(options.device).eval()
            ours.load_state_dict(theirs.state_dict())
    return found


def operators() -> list[dict[str, Any]]:
    """Time launching both by the host, for few tokens, where launching is what takes the time."""
    from torch.nn.attention.varlen import varlen_attn

    from bertie.attention.flash_varlen import flash_with_dropout

    q = torch.randn(16, 12, 64, device="cuda", dtype=torch.bfloat16)
    ends = torch.tensor([0, 16], device="cuda", dtype=torch.int32)
    ways = {
        "varlen_attn": lambda: varlen_attn(q, q, q, ends, ends, 64, 64),
        "aten._flash_attention_forward": lambda: flash_with_dropout(q, q, q, ends, 64, False, 0.0),
    }
    found = []
    with torch.inference_mode():
        for name, way in ways.items():
            for _ in range(20):
                way()
            wait("cuda")
            start = time.perf_counter()
            for _ in range(500):
                way()
            wait("cuda")
            found.append({"operator": name, "microseconds": (time.perf_counter() - start) / 500 * 1e6})
    return found


if __name__ == "__main__":
    main()
