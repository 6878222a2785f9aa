"""CUDA graphs of small batches: sizes, filling, buffers, and when a captured run may be replayed.

Recording needs a GPU; here it is replaced by running again, on the same buffers, so that all the rest is tested.
"""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bertie
from bertie.models.cuda_graphs import MAX_TOKENS, GraphedModel, Inputs, Outputs, Size, filled, rounded

CONFIG = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 300,
}


class Recorder(GraphedModel):
    """A substitute for CUDA graphs: a replay recomputes from the buffers into the same outputs."""

    captured = replayed = 0

    def reads_lengths(self) -> bool:
        return False

    def capture(self, compute: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        self.captured += 1
        outputs = tuple(None if each is None else torch.full_like(each, -1) for each in compute())

        def replay() -> None:
            self.replayed += 1
            for place, value in zip(outputs, compute(), strict=True):
                if place is not None:
                    place.copy_(value)

        return replay, outputs


def packed(*lengths: int) -> bertie.Packed:
    return bertie.Packed.from_lists([torch.randint(1, 99, (length,)).tolist() for length in lengths])


def make(**fields) -> tuple[bertie.BertModel, bertie.BertModel, Recorder]:
    """Return a model, a copy of it that replays, and a counter of its replays."""
    torch.manual_seed(0)
    model = bertie.BertModel(bertie.BertConfig(**CONFIG, **fields)).eval()
    graphed = copy.deepcopy(model)
    vars(graphed)["forward"] = recorder = Recorder(graphed)
    return model, graphed, recorder


def test_sizes_are_few_and_steps_small():
    assert rounded([5, 3]) == Size(tokens=16, texts=8, longest=128)
    assert rounded([16]) == Size(16, 2, 128)
    assert rounded([17]) == Size(24, 2, 128)
    assert rounded([25]) == Size(32, 2, 128)
    assert rounded([200, 100]) == Size(384, 8, 256)
    assert rounded([]) is None
    assert rounded([0, 0]) is None
    assert rounded([512] * 17) is None
    assert len({rounded([1] * tokens).tokens for tokens in range(1, MAX_TOKENS + 1)}) == 19


@given(st.lists(st.integers(0, 512), min_size=1, max_size=40))
def test_a_batch_is_filled_up_to_its_size(lengths):
    size = rounded(lengths)
    if size is None:
        return
    ends = filled(lengths, size)
    counts = [after - before for before, after in pairwise(ends)]
    assert len(ends) == size.texts + 1
    assert counts[: len(lengths)] == lengths
    assert ends[-1] == size.tokens >= sum(lengths)
    assert size.tokens <= max(16, 1.5 * sum(lengths))
    assert max(counts) <= size.longest


def test_the_buffer_holds_the_batch_and_keeps_valid_filler():
    size = Size(16, 8, 128)
    inputs = Inputs(size, torch.device("cpu"))
    for lengths in ((9, 4), (2, 3)):
        batch = packed(*lengths)
        inputs.fill(batch)
        held = inputs.packed()
        for name in ("input_ids", "token_type_ids", "position_ids"):
            assert torch.equal(getattr(held, name)[: batch.num_tokens], getattr(batch, name).int())
        assert held.lengths[:3] == (*lengths, 16 - sum(lengths))
        assert held.shape == (8, 128)


def test_replayed_outputs_equal_the_models():
    model, graphed, recorder = make()
    with torch.inference_mode():
        for lengths in ((5, 3), (7, 1), (2, 2, 1), (9, 6), (0, 4), (20,), (200, 100), (22,), (250, 70)):
            batch = packed(*lengths)
            ours, expected = graphed(batch), model(batch)
            torch.testing.assert_close(ours.last_hidden_state, expected.last_hidden_state, atol=1e-6, rtol=0)
            torch.testing.assert_close(ours.pooler_output, expected.pooler_output, atol=1e-6, rtol=0)
            assert type(ours) is type(expected)
    assert recorder.captured == 3  # of the second batch of each size
    assert recorder.replayed == 6


def test_outputs_are_not_overwritten():
    _, graphed, _ = make()
    batch, other = packed(5, 3), packed(4, 4)
    with torch.no_grad():
        graphed(batch)
        first = graphed(batch).last_hidden_state
        kept = first.clone()
        graphed(other)
        assert torch.equal(first, kept)
        assert not first.is_inference()


def test_a_replay_reads_the_current_weights():
    model, graphed, recorder = make()
    batch = packed(5, 3)
    with torch.no_grad():
        for _ in range(3):
            graphed(batch)
        for each in (model, graphed):
            each.encoder.layer[0].output.dense.weight.data[3] = 2
            each.encoder.layer[1].intermediate.dense.bias.numpy()[5:9] += 5
        torch.testing.assert_close(graphed(batch)[0], model(batch)[0], atol=1e-6, rtol=0)
    assert recorder.captured == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.pooler.dense, "bias", torch.nn.Parameter(torch.ones(16))),
        lambda model: setattr(model.encoder.layer[1].output.dense.weight, "data", torch.ones(16, 24)),
        lambda model: setattr(
            model.encoder.layer[1], "intermediate", copy.deepcopy(model.encoder.layer[0].intermediate)
        ),
    ],
    ids=["parameter", "storage", "module"],
)
def test_a_changed_model_is_captured_again(change):
    model, graphed, recorder = make()
    batch = packed(5, 3)
    with torch.no_grad():
        for _ in range(3):
            graphed(batch)
        assert recorder.captured == 1
        for each in (model, graphed):
            change(each)
        for _ in range(3):
            torch.testing.assert_close(graphed(batch)[0], model(batch)[0], atol=1e-6, rtol=0)
    assert recorder.captured == 2


def test_hooks_run():
    _, graphed, _ = make()
    batch, seen = packed(5, 3), []
    with torch.no_grad():
        for _ in range(3):
            graphed(batch)
        graphed.encoder.layer[0].register_forward_hook(lambda *_: seen.append(1))
        for _ in range(3):
            graphed(batch)
    assert len(seen) == 3


def test_calls_other_than_plain_inference_are_computed():
    model, graphed, recorder = make()
    batch = packed(5, 3)
    for _ in range(3):
        graphed(batch)[0].sum().backward()
    with torch.no_grad():
        for _ in range(3):
            assert len(graphed(batch, output_hidden_states=True).hidden_states) == 3
            graphed(torch.randint(1, 99, (2, 4)))
            graphed(batch.with_attention_mask(torch.zeros(2, 1, 1, 5)))
            with torch.autocast("cpu", torch.bfloat16):
                graphed(batch)
        graphed.train()
        for _ in range(3):
            graphed(batch)
    assert recorder.captured == 0
    assert GraphedModel(model).why_not(batch)[-1] == "attention reads lengths on the host"


def test_threads_may_share_a_model():
    model, graphed, _ = make()
    batches = [packed(*lengths) for lengths in ((5, 3), (7, 1), (20,), (9, 6), (22,))] * 8

    def answer(batch: bertie.Packed) -> torch.Tensor:
        with torch.inference_mode():
            return graphed(batch).last_hidden_state

    with ThreadPoolExecutor(4) as threads:
        for batch, ours in zip(batches, threads.map(answer, batches), strict=True):
            torch.testing.assert_close(ours, model(batch).last_hidden_state, atol=1e-6, rtol=0)


def test_the_oldest_run_is_dropped():
    model, graphed, recorder = make()
    recorder.max_graphs = 2
    with torch.no_grad():
        for length in (10, 20, 10, 40, 10):
            for _ in range(2):
                batch = packed(length)
                torch.testing.assert_close(graphed(batch)[0], model(batch)[0], atol=1e-6, rtol=0)
    assert [size.tokens for size in recorder.runs] == [48, 16]
    assert recorder.captured == 3


def test_ids_are_checked_before_they_are_replayed():
    _, graphed, _ = make()
    with torch.no_grad():
        for _ in range(2):
            graphed(packed(5, 3))
        with pytest.raises(bertie.InputError, match="vocab_size is 99"):
            graphed(bertie.Packed.from_lists([[100, 3]]))


def test_a_copy_has_no_runs():
    _, graphed, _ = make()
    batch = packed(5, 3)
    with torch.no_grad():
        for _ in range(2):
            graphed(batch)
    for other in (copy.deepcopy(graphed), pickle.loads(pickle.dumps(graphed))):  # noqa: S301
        assert not other.forward.runs
        assert other.forward.model is other


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("on_host", [True, False])
def test_cuda_graphs_equal_the_model(on_host):
    torch.manual_seed(0)
    model = bertie.BertModel(bertie.BertConfig(**{**CONFIG, "hidden_size": 128})).eval().to("cuda", torch.bfloat16)
    graphed = copy.deepcopy(model)
    vars(graphed)["forward"] = GraphedModel(graphed)
    with torch.inference_mode():
        for lengths in ((5, 3), (7, 1), (2, 2, 1), (9, 6), (0, 4), (200, 100), (250, 70)):
            batch = packed(*lengths)
            expected = model(batch.to("cuda"))
            ours = graphed(batch if on_host else batch.to("cuda"))
            torch.testing.assert_close(ours.last_hidden_state, expected.last_hidden_state, atol=2e-2, rtol=2e-2)
            torch.testing.assert_close(ours.pooler_output, expected.pooler_output, atol=2e-2, rtol=2e-2)
    assert len(vars(graphed)["forward"].runs) == 2
