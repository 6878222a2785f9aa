"""All blocks in one call equal PyTorch's step-by-step computation with the same weights."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.errors import InputError
from bertie.kernels import library
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.kernels.attention import attention
from bertie.kernels.encoder import Block, PackedEncoder
from bertie.kernels.gemm import GELU, RESIDUAL, PackedWeight
from bertie.kernels.gemm_int8 import Int8PackedWeight, params_8_bits, params_16_bits
from bertie.kernels.normalization import layer_norm
from bertie.layers.activations import ACTIVATIONS

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)
HEADS, WIDTH, WIDE = 3, 20, 100
HIDDEN = HEADS * WIDTH
SHAPES = ((3 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (WIDE, HIDDEN), (HIDDEN, WIDE))


class Weights:
    """Blocks' weights: of products as [out, in] with bias, of normalizations with epsilon."""

    def __init__(self, blocks: int = 2) -> None:
        draw = torch.Generator().manual_seed(0)

        def product(out: int, depth: int) -> tuple[Tensor, Tensor]:
            return torch.randn(out, depth, generator=draw) / depth**0.5, torch.randn(out, generator=draw) / 5

        self.blocks = [[product(*shape) for shape in SHAPES] for _ in range(blocks)]
        self.norms = [(1 + torch.randn(HIDDEN, generator=draw) / 5, torch.randn(HIDDEN, generator=draw), 1e-12)] * 2

    def encoder(self, prepare, activation: int = GELU, fewer: int = 0) -> PackedEncoder:
        """The blocks for one call; the first without its last heads if it has ``fewer``."""
        norms = tuple((weight.numpy(), bias.numpy(), eps) for weight, bias, eps in self.norms)
        heads = [HEADS - fewer, *[HEADS] * (len(self.blocks) - 1)]
        return PackedEncoder(
            [
                Block(tuple(prepare(*each) for each in of_heads(one, count)), norms, (count, WIDTH), activation)
                for one, count in zip(self.blocks, heads, strict=True)
            ]
        )

    def run(self, x: Tensor, lengths: list[int], blocks: int, activation=F.gelu) -> Tensor:
        x = x.double()
        for one in self.blocks[:blocks]:
            qkv, output, wide, last = one
            contexts = []
            for part in linear(x, *qkv).view(-1, 3, HEADS, WIDTH).split(lengths):
                context = F.scaled_dot_product_attention(*part.permute(1, 2, 0, 3))
                contexts.append(context.transpose(0, 1).flatten(1))
            x = normalized(x + linear(torch.cat(contexts), *output), *self.norms[0])
            x = normalized(x + linear(activation(linear(x, *wide)), *last), *self.norms[1])
        return x


def of_heads(products: list[tuple[Tensor, Tensor]], count: int) -> list[tuple[Tensor, Tensor]]:
    """A block's products for its first heads only."""
    (weight, bias), (output, of_output), *others = products
    first = torch.arange(3 * HIDDEN).view(3, HEADS, WIDTH)[:, :count].flatten()
    return [(weight[first], bias[first]), (output[:, : count * WIDTH], of_output), *others]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight.double(), bias.double())


def normalized(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, (HIDDEN,), weight.double(), bias.double(), eps)


def batch(lengths: list[int]) -> tuple[Tensor, Tensor]:
    x = torch.randn(sum(lengths), HIDDEN, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([0, *lengths]).cumsum(0).int()


def packed(weight: Tensor, bias: Tensor, functions: library.InstructionSet) -> PackedWeight:
    return PackedWeight(weight.numpy(), bias.numpy(), functions)


def run(encoder: PackedEncoder, x: Tensor, starts: Tensor, blocks: int | None = None, threads: int = 1) -> Tensor:
    return torch.from_numpy(encoder(x.numpy(), starts.numpy(), blocks, threads=threads))


@each_set
@pytest.mark.parametrize("lengths", [[1], [7, 30, 2], [200, 57]])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_floats(functions, lengths, blocks) -> None:
    weights = Weights()
    encoder = weights.encoder(lambda weight, bias: packed(weight, bias, functions))
    x, starts = batch(lengths)
    assert (run(encoder, x, starts, blocks) - weights.run(x, lengths, blocks)).abs().max() <= 1e-5


@each_set
def test_blocks_may_have_fewer_heads(functions) -> None:
    weights, lengths = Weights(), [7, 30, 2]
    (_, _), (output, _), *_ = weights.blocks[0]
    output[:, WIDTH:] = 0
    x, starts = batch(lengths)
    encoder = weights.encoder(lambda weight, bias: packed(weight, bias, functions), fewer=HEADS - 1)
    assert (run(encoder, x, starts) - weights.run(x, lengths, 2)).abs().max() <= 1e-5


@each_set
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(functions, name) -> None:
    weights, lengths = Weights(), [7, 30, 2]
    x, starts = batch(lengths)
    encoder = weights.encoder(lambda weight, bias: packed(weight, bias, functions), ACTIVATION_CODES[name])
    assert (run(encoder, x, starts) - weights.run(x, lengths, 2, ACTIVATIONS[name])).abs().max() <= 1e-5


@each_set
def test_blocks_that_do_not_fit_are_refused(functions) -> None:
    encoder = Weights().encoder(lambda *each: packed(*each, functions))
    block = encoder.blocks[0]
    for wrong in (
        replace(block, heads=(HEADS, WIDTH + 1)),
        replace(block, heads=(WIDTH, HEADS)),
        replace(block, products=block.products[::-1]),
        replace(block, activation=RESIDUAL),
        replace(block, norms=((*block.norms[0][:1], block.norms[0][1][1:], 1e-5), block.norms[1])),
    ):
        with pytest.raises(InputError):
            PackedEncoder([block, wrong])


@each_set
@pytest.mark.parametrize(("heads", "width"), [(3, 20), (2, 12), (4, 16), (3, 128)])
def test_a_variance_that_overflows_gives_what_pytorch_gives(functions, heads, width) -> None:
    """A block whose products are zero normalizes its input twice; rows become NaN, the bias, or finite numbers."""
    hidden = heads * width
    draw = torch.Generator().manual_seed(0)
    norm = (torch.randn(hidden, generator=draw), torch.randn(hidden, generator=draw), 1e-12)
    shapes = ((3 * hidden, hidden), (hidden, hidden), (WIDE, hidden), (hidden, WIDE))
    products = tuple(packed(torch.zeros(shape), torch.zeros(shape[0]), functions) for shape in shapes)
    arrays = (norm[0].numpy(), norm[1].numpy(), norm[2])
    encoder = PackedEncoder([Block(products, (arrays, arrays), (heads, width))])
    x = torch.randn(400, hidden, generator=draw)
    places = torch.randint(0, hidden, (400,), generator=draw)
    places[::4] = 0
    x[torch.arange(400), places] = 10 ** (16 + 22 * torch.rand(400, generator=draw))
    x[::3] *= 1e18
    x[-1, :3] = 3e38  # their sum overflows, their mean does not
    x = x.clamp(-3e38, 3e38)
    expected = x
    for _ in range(2):
        expected = F.layer_norm(expected, (hidden,), *norm)
    found = run(encoder, x, torch.tensor([0, 400], dtype=torch.int32))
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-4, atol=1e-4)
    assert expected.isnan().any() == (hidden % 8 == 0)
    assert (expected == F.layer_norm(norm[1], (hidden,), *norm)).all(dim=1).any()


@each_set
def test_threads_and_other_texts_change_no_bit(functions) -> None:
    encoder = Weights().encoder(lambda weight, bias: packed(weight, bias, functions))
    lengths = [40, 9, 130]
    x, starts = batch(lengths)
    together = run(encoder, x, starts)
    for threads in (1, 2, 3):
        assert torch.equal(run(encoder, x, starts, threads=threads), together)
    alone = run(encoder, x[40:49], torch.tensor([0, 9], dtype=torch.int32))
    assert torch.equal(alone, together[40:49])


@each_set
@pytest.mark.parametrize("bits", [8, 16])
def test_integers(functions, bits) -> None:
    if bits == 8 and not functions.multiplies_bytes:
        pytest.skip("inputs of 8 bits need VNNI")
    weights = Weights()

    def prepare(weight: Tensor, bias: Tensor) -> Int8PackedWeight:
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8).numpy()
        how = params_8_bits() if bits == 8 else params_16_bits(whole)
        return Int8PackedWeight(whole, scale.numpy(), bias.numpy(), how, functions)

    encoder = weights.encoder(prepare)
    x, starts = batch([12, 100, 3])
    found, expected = run(encoder, x, starts), weights.run(x, [12, 100, 3], 2)
    assert F.cosine_similarity(found, expected, dim=1).min() > 0.999
    assert torch.equal(run(encoder, x[12:112], torch.tensor([0, 100], dtype=torch.int32)), found[12:112])


@each_set
def test_int8_attention_does_not_depend_on_the_batch(functions) -> None:
    """Products of long texts may be bfloat16, if heads fill whole tiles; those of short texts never are."""
    if not functions.multiplies_bytes:
        pytest.skip("inputs of 8 bits need VNNI")
    draw, heads, width = torch.Generator().manual_seed(0), 2, 32
    hidden, lengths = heads * width, [300, 20]

    def product(out: int, depth: int) -> Int8PackedWeight:
        weight = torch.randn(out, depth, generator=draw) / depth**0.5
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8).numpy()
        return Int8PackedWeight(whole, scale.numpy(), torch.zeros(out).numpy(), params_8_bits(), functions)

    products = tuple(map(product, (3 * hidden, hidden, WIDE, hidden), (hidden, hidden, hidden, WIDE)))
    norm = (torch.ones(hidden).numpy(), torch.zeros(hidden).numpy(), 1e-12)
    encoder = PackedEncoder([Block(products, (norm, norm), (heads, width))])
    x = torch.randn(sum(lengths), hidden, generator=draw)
    together = run(encoder, x, torch.tensor([0, 300, 320], dtype=torch.int32))
    for threads in (1, 3):
        for part in (slice(0, 300), slice(300, 320)):
            starts = torch.tensor([0, part.stop - part.start], dtype=torch.int32)
            assert torch.equal(run(encoder, x[part], starts, threads=threads), together[part])
    parts = products[0](x.numpy(), threads=1).reshape(-1, 3, heads, width).swapaxes(0, 1)
    starts = torch.tensor([0, 300, 320], dtype=torch.int32).numpy()
    context = attention(*parts, starts, starts, functions, approximate=True, threads=1).reshape(-1, hidden)
    attended = products[1](context, RESIDUAL, x.numpy(), threads=1)
    attended = layer_norm(attended, *norm, functions, threads=1)
    wide = products[2](attended, GELU, threads=1)
    expected = layer_norm(products[3](wide, RESIDUAL, attended, threads=1), *norm, functions, threads=1)
    assert torch.equal(torch.from_numpy(expected), together)


@each_set
@pytest.mark.parametrize("starts", [[0, 100, 6], [0, 3, 5], [1, 3, 6], [0, 7, 6], [0, -1, 6]])
def test_invalid_cu_seqlens_are_refused(functions, starts) -> None:
    encoder = Weights().encoder(lambda *each: packed(*each, functions))
    x = torch.randn(6, HIDDEN)
    with pytest.raises(InputError, match="must rise from 0 to 6"):
        run(encoder, x, torch.tensor(starts, dtype=torch.int32))
    for wrong in (x[:, 1:], x.double()):
        with pytest.raises(InputError, match="A kernel was given"):
            run(encoder, wrong, torch.tensor([0, 6], dtype=torch.int32))


@each_set
def test_products_of_other_shapes_are_refused(functions) -> None:
    panels = packed(torch.randn(10, 8), torch.randn(10), functions)
    for wrong in ((torch.randn(3, 7),), (torch.randn(3, 8).double(),), (torch.randn(3, 8), 2, torch.randn(2, 10))):
        with pytest.raises(InputError, match="A kernel was given"):
            panels(*(each.numpy() if isinstance(each, Tensor) else each for each in wrong), threads=1)
