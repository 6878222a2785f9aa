"""``attend``: its backends agree, in values and gradients, and the choice between them explains itself."""

from dataclasses import replace

import pytest
import torch

from bertie import BertConfig, BertModel, InputError, InputTypeError, Packed, explain_attention
from bertie.attention import Request, attend, explain
from bertie.attention.dispatch import choose
from bertie.kernels import library

LENGTHS = (3, 5, 3, 0, 1, 5, 8)
# without compiled kernels, PyTorch's operators are chosen
NO_KERNELS = bool(library.why_no_kernels())
SERVES = "grouped" if NO_KERNELS else "native"


def batch(causal_free: bool = True) -> tuple[Packed, list[torch.Tensor]]:
    packed = Packed.from_lists([[1] * length for length in LENGTHS])
    generator = torch.Generator().manual_seed(0)
    qkv = [torch.randn(packed.num_tokens, 2, 8, generator=generator, requires_grad=True) for _ in range(3)]
    return packed, qkv


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_and_dense_agree(causal: bool) -> None:
    packed, qkv = batch()
    results = []
    for backend, weights in (("grouped", False), ("dense", False), ("dense", True)):
        context, _ = attend(*qkv, packed, causal=causal, backend=backend, weights=weights)
        results.append((context, torch.autograd.grad(context.square().sum(), qkv)))
    for context, gradients in results[1:]:
        torch.testing.assert_close(context, results[0][0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(gradients, results[0][1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_each_text_attends_to_itself_only(causal: bool) -> None:
    packed, qkv = batch()
    context, _ = attend(*qkv, packed, causal=causal)
    start = 0
    for length in LENGTHS:
        q, k, v = (part[start : start + length].transpose(0, 1)[None] for part in qkv)
        alone = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)[0].transpose(0, 1)
        torch.testing.assert_close(context[start : start + length], alone, atol=1e-6, rtol=1e-5)
        start += length


def test_grouped_drops_weights_at_the_given_rate() -> None:
    torch.manual_seed(0)
    packed = Packed.from_lists([[1] * 40, [1] * 38])
    q, k = torch.randn(2, packed.num_tokens, 2, 4)
    plain, _ = attend(q, k, torch.ones_like(k), packed, backend="grouped")
    torch.testing.assert_close(plain, torch.ones_like(plain))
    found = [attend(q, k, torch.ones_like(k), packed, dropout_p=0.3, backend="grouped")[0] for _ in range(50)]
    each = torch.stack(found)
    assert abs(float(each.mean()) - 1) < 0.01
    assert float(each.std()) > 0.05


@pytest.mark.skipif(NO_KERNELS, reason=library.why_no_kernels())
@pytest.mark.parametrize("foreign", [False, True])
def test_native_and_grouped_agree(foreign: bool) -> None:
    packed, (q, k, v) = batch()
    queries = Packed.from_lists([[1]] * len(LENGTHS)) if foreign else packed
    q = q[: queries.num_tokens]
    found = [attend(q, k, v, queries, keys=packed, backend=backend)[0] for backend in ("native", "grouped")]
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)
    gradients = [torch.autograd.grad(context.square().sum(), [q, k, v]) for context in found]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        again, _ = attend(q, k, v, queries, keys=packed, backend="native")
    assert torch.equal(again, found[0])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_varlen_agrees_with_grouped(causal: bool, dtype: torch.dtype) -> None:
    packed, qkv = batch()
    packed = packed.to("cuda")
    half = [part.detach().to("cuda", dtype).requires_grad_() for part in qkv]
    results = []
    for backend in ("varlen", "grouped"):
        context, _ = attend(*half, packed, causal=causal, backend=backend)
        results.append((context, *torch.autograd.grad(context.float().square().sum(), half)))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, atol=2e-2, rtol=2e-2)


def test_weights_are_a_rectangle_with_zeros_for_padding() -> None:
    packed, qkv = batch()
    _, weights = attend(*qkv, packed, weights=True)
    assert weights.shape == (7, 2, 8, 8)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(weights[row, :, :length].sum(-1), torch.ones(2, length))
        assert not weights[row, :, length:].any()
        assert not weights[row, :, :length, length:].any()


def test_a_custom_mask_is_complete() -> None:
    packed, qkv = batch()
    mask = torch.eye(8, dtype=torch.bool)[None, None].expand(7, 1, 8, 8)
    context, _ = attend(*qkv, packed.with_attention_mask(mask), causal=True)
    torch.testing.assert_close(context, qkv[2])


REQUEST = Request(device="cpu", dtype=torch.float32, head_width=8)


def test_the_choice_explains_itself() -> None:
    lines = explain(REQUEST).splitlines()
    assert [line.split()[0] for line in lines] == ["varlen", "native", "grouped", "dense"]
    assert "it needs a CUDA device, not cpu" in lines[0]
    assert [line.split()[0] for line in lines if line.endswith("chosen")] == [SERVES]
    assert choose(REQUEST).name == SERVES
    for fact in ({"causal": True}, {"dtype": torch.float64}):
        assert choose(replace(REQUEST, **fact)).name == "grouped"
    on_cuda = Request(device="cuda", dtype=torch.bfloat16, head_width=64)
    assert choose(on_cuda).name == "varlen"
    dropping = choose(Request(device="cuda", dtype=torch.bfloat16, head_width=64, dropout_p=0.1))
    assert dropping.name == ("varlen" if torch.cuda.is_available() else "grouped")
    assert choose(Request(device="cpu", dtype=torch.float32, head_width=8, weights=True)).name == "dense"


def test_no_backend_left_lists_every_objection() -> None:
    with pytest.raises(InputError, match=r"(?s)varlen.*it needs a CUDA device.*it needs float16 or bfloat16"):
        choose(REQUEST, "varlen")
    with pytest.raises(InputError, match="no attention backend 'magic'; choose one of varlen, native, grouped, dense"):
        choose(REQUEST, "magic")


def test_explain_attention_takes_any_kind_of_batch() -> None:
    config = BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=9, intermediate_size=8)
    model = BertModel(config).eval()
    ids = torch.tensor([[1, 2, 3]])
    table = explain_attention(model, ids)
    assert f"{SERVES:<8}  chosen" in table
    assert explain_attention(model, {"input_ids": ids}) == table
    assert explain_attention(model, Packed.from_lists([[1, 2, 3]])) == table
    assert "dense     chosen" in explain_attention(model, ids, output_attentions=True)
    # a decoder's cache is empty in its first step
    decoder = BertModel(BertConfig(**{**config.to_dict(), "is_decoder": True})).eval()
    assert "grouped   chosen" in explain_attention(decoder, ids)
    with pytest.raises(InputTypeError, match="batch must be a Packed, a mapping or a tensor of ids, not str"):
        explain_attention(model, "text")
    config._attn_implementation = "eager"
    assert "grouped" not in explain_attention(BertModel(config), ids)
