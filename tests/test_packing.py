"""Packing: small literal examples that document it, and properties over any mask."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from bertie import InputError, InputTypeError, Packed, packing

masks = st.integers(0, 4).flatmap(
    lambda batch: st.integers(0, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=batch, max_size=batch
        ).map(lambda rows: torch.tensor(rows, dtype=torch.int64).reshape(batch, width))
    )
)


def rectangle(mask: torch.Tensor) -> torch.Tensor:
    return torch.arange(1, mask.numel() + 1).reshape(mask.shape)


def test_from_lists() -> None:
    packed = Packed.from_lists([[7, 8, 9], [5, 6]])
    assert packed.input_ids.tolist() == [7, 8, 9, 5, 6]
    assert packed.cu_seqlens.tolist() == [0, 3, 5]
    assert packed.position_ids.tolist() == [0, 1, 2, 0, 1]
    assert packed.token_type_ids.tolist() == [0, 0, 0, 0, 0]
    assert packed.lengths == (3, 2)
    assert packed.shape == (2, 3)
    assert packed.pad(packed.input_ids).tolist() == [[7, 8, 9], [5, 6, 0]]


def test_padding_is_left_out() -> None:
    packed = Packed.from_padded(torch.tensor([[7, 8, 9, 1], [5, 6, 1, 1]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]))
    assert packed.cu_seqlens.tolist() == [0, 3, 5]
    assert packed.input_ids.tolist() == [7, 8, 9, 5, 6]


def test_a_token_keeps_the_position_of_its_column() -> None:
    packed = Packed.from_padded(torch.tensor([[1, 7, 8], [5, 1, 6]]), torch.tensor([[0, 1, 1], [1, 0, 1]]))
    assert packed.position_ids.tolist() == [1, 2, 0, 2]
    assert packed.pad(packed.input_ids, fill=-1).tolist() == [[-1, 7, 8], [5, -1, 6]]
    assert packed.first(packed.input_ids).tolist() == [7, 5]


def test_without_padding_nothing_is_copied() -> None:
    ids = torch.tensor([[1, 2], [3, 4]])
    packed = Packed.from_padded(ids, torch.ones_like(ids))
    assert packed.flat_index is None
    assert packed.input_ids.data_ptr() == ids.data_ptr()


def test_a_text_without_tokens_is_empty_and_stays_in_the_batch() -> None:
    packed = Packed.from_padded(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[0, 0], [1, 1]]))
    assert packed.lengths == (0, 2)
    assert packed.empty().tolist() == [True, False]
    assert Packed.from_lists([[1], [2]]).empty() is None


@given(masks)
def test_padding_undoes_packing(mask: torch.Tensor) -> None:
    ids = rectangle(mask)
    packed = Packed.from_padded(ids, mask)
    assert packed.num_tokens == int(mask.sum())
    assert packed.lengths == tuple(mask.sum(1).tolist())
    assert packed.cu_seqlens.tolist() == [0, *mask.sum(1).cumsum(0).tolist()]
    assert torch.equal(packed.pad(packed.input_ids), ids * mask)
    assert torch.equal(packed.unpad(ids), ids[mask.bool()])
    assert torch.equal(packed.position_ids, torch.arange(mask.shape[1]).expand(mask.shape)[mask.bool()])


@given(masks, st.data())
def test_select_is_packing_the_selected_rows(mask: torch.Tensor, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(mask) - 1), max_size=5)) if len(mask) else []
    ids = rectangle(mask)
    chosen = Packed.from_padded(ids, mask).select(rows)
    index = torch.tensor(rows, dtype=torch.int64)
    direct = Packed.from_padded(ids[index], mask[index])
    for name in ("input_ids", "position_ids", "token_type_ids", "cu_seqlens"):
        assert torch.equal(getattr(chosen, name), getattr(direct, name)), name
    assert chosen.lengths == direct.lengths
    assert torch.equal(chosen.pad(chosen.input_ids), direct.pad(direct.input_ids))


@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=5))
def test_lists_and_rectangles_agree(texts: list[list[int]]) -> None:
    packed = Packed.from_lists(texts)
    width = max(map(len, texts), default=0)
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts]).long().reshape(len(texts), width)
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts]).reshape(len(texts), width)
    other = Packed.from_padded(ids, mask)
    assert torch.equal(packed.input_ids, other.input_ids)
    assert torch.equal(packed.cu_seqlens, other.cu_seqlens)
    assert torch.equal(packed.pad(packed.input_ids), other.pad(other.input_ids))
    assert packed.lengths == other.lengths


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32, torch.bfloat16])
def test_masks_of_any_dtype_that_hold_zeros_and_ones(dtype: torch.dtype) -> None:
    mask = torch.tensor([[1, 0, 1]]).to(dtype)
    assert Packed.from_padded(torch.tensor([[4, 5, 6]]), mask).input_ids.tolist() == [4, 6]


@pytest.mark.parametrize("value", [7, -3, float("nan"), 0.5])
def test_a_mask_of_other_numbers_is_refused(value: float) -> None:
    mask = torch.tensor([[1, value, 1]])
    with pytest.raises(InputError, match="only 0 and 1"):
        Packed.from_padded(torch.tensor([[4, 5, 6]]), mask)


@settings(max_examples=20)
@given(masks)
def test_host_stats_are_the_same_if_fetched_later(mask: torch.Tensor) -> None:
    packed = Packed.from_padded(rectangle(mask) * mask, mask)
    leaves, spec = pytree.tree_flatten(packed)
    later = pytree.tree_unflatten(leaves, spec)
    assert later.known_stats is None
    assert later.lengths == packed.lengths


def test_tree_map_may_replace_tensors_by_anything() -> None:
    packed = Packed.from_lists([[1, 2], [3]])
    assert pytree.tree_map(lambda leaf: None, packed).shape == (2, 2)


def test_a_packed_is_immutable_and_can_be_pickled_and_moved() -> None:
    packed = Packed.from_lists([[1, 2], [3]])
    with pytest.raises(AttributeError):
        packed.shape = (1, 1)
    assert pickle.loads(pickle.dumps(packed)).input_ids.tolist() == [1, 2, 3]  # noqa: S301
    assert packed.to("cpu").lengths == (2, 1)
    assert repr(packed) == "Packed(2 texts, 3 tokens, rectangle (2, 2), device=cpu)"


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="as many entries as input_ids"):
        Packed.from_lists([[1, 2]], token_type_ids=[[0]])
    packed = Packed.from_lists([[1, 2]])
    with pytest.raises(InputError, match="exactly one of input_ids and inputs_embeds"):
        Packed(packed.position_ids, packed.token_type_ids, packed.cu_seqlens, (1, 2))
    with pytest.raises(InputError, match="position_ids has shape"):
        Packed(packed.position_ids[:1], packed.token_type_ids, packed.cu_seqlens, (1, 2), packed.input_ids)
    with pytest.raises(InputError, match="cu_seqlens has shape"):
        Packed(packed.position_ids, packed.token_type_ids, packed.cu_seqlens, (2, 2), packed.input_ids)
    with pytest.raises(InputError, match="cu_seqlens is torch.int64"):
        Packed(packed.position_ids, packed.token_type_ids, packed.cu_seqlens.long(), (1, 2), packed.input_ids)


@pytest.mark.parametrize("starts", [[0, 100, 6], [0, -2, 6], [1, 3, 6], [0, 3, 5], [0, 3, 2**31 - 1]])
def test_invalid_cu_seqlens_are_refused(starts: list[int]) -> None:
    ids, places = torch.ones(6, dtype=torch.int64), torch.arange(6)
    with pytest.raises(InputError, match=r"cu_seqlens is \[.*\]; it must rise from 0 to 6, the number of tokens"):
        Packed(places, ids * 0, torch.tensor(starts, dtype=torch.int32), (2, 3), ids)


def test_a_text_longer_than_its_rectangle_is_refused() -> None:
    ids, starts = torch.ones(6, dtype=torch.int64), torch.tensor([0, 4, 6], dtype=torch.int32)
    with pytest.raises(InputError, match=r"A text has 4 tokens, but shape \(2, 3\) allows at most 3"):
        Packed(torch.arange(6), ids * 0, starts, (2, 3), ids)
    assert Packed(torch.arange(6), ids * 0, starts, (2, 4), ids).lengths == (4, 2)


def test_cu_seqlens_are_checked_with_the_host_stats() -> None:
    packed = Packed.from_lists([[1, 2], [3]])
    made = pytree.tree_map(lambda leaf: leaf * 5 if leaf is packed.cu_seqlens else leaf, packed)
    with pytest.raises(InputError, match="cu_seqlens is"):
        made.lengths  # noqa: B018


@pytest.mark.parametrize("text", [-1, 3])
def test_selecting_a_missing_text_is_refused(text: int) -> None:
    with pytest.raises(InputError, match=f"There is no text {text} in this batch of 3"):
        Packed.from_lists([[1, 2, 3], [4], [5, 6]]).select([0, text])


def test_a_rectangle_is_checked_before_it_is_packed() -> None:
    ids = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(InputError, match=r"attention_mask has shape \(2, 4\), but the batch has \(2, 3\)"):
        Packed.from_padded(ids, torch.ones(2, 4).tril())
    with pytest.raises(InputTypeError, match="input_ids must be an integer tensor"):
        Packed.from_padded(ids.float())


def test_all_tensors_are_copied_in_one_transfer():
    packed = Packed.from_lists([[5, 6, 7], [8]], token_type_ids=[[0, 1, 1], [0]])
    embeds = torch.randn(3, 2, requires_grad=True)
    tensors = {
        "input_ids": packed.input_ids,
        "cu_seqlens": packed.cu_seqlens,
        "embeds": embeds,
        "flat_index": packed.flat_index,
    }
    moved = packing._in_one_transfer(tensors, torch.device("cpu"))
    assert sorted(moved) == sorted(tensors)
    for name, value in tensors.items():
        assert moved[name].dtype == value.dtype
        assert torch.equal(moved[name], value)
    assert moved["embeds"].requires_grad
    starts = [moved[name].data_ptr() for name in ("input_ids", "cu_seqlens", "flat_index")]
    assert [start - starts[0] for start in starts] == [0, 32, 48]
