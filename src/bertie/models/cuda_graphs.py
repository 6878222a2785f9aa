"""CUDA graphs for small batches: encoder runs captured for a few sizes and replayed on new batches.

Launching the hundred kernels of a small batch one by one takes longer than running them; a graph launches all at once.
It reads and writes fixed memory, so batches are filled up to a few sizes and copied in, and outputs are copied out.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertie.attention.dispatch import choose
from bertie.attention.request import Request
from bertie.capture import is_tracing
from bertie.models.hooks import has_observers
from bertie.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from bertie.packing import HostStats, Packed

# Above this, computing takes longer than launching (about 4 ms for a base model), and a graph saves nothing.
MAX_TOKENS = 8_192

# One with a row per token, and one with a row per text or None.
Outputs = tuple[Tensor | None, ...]


class Size(NamedTuple):
    """The capacity of a captured run: tokens, texts, and tokens of one text."""

    tokens: int
    texts: int
    longest: int


def rounded(lengths: Sequence[int]) -> Size | None:
    """Return the smallest size that holds texts of these lengths; None for no tokens or too many."""
    total = sum(lengths)
    if not 0 < total <= MAX_TOKENS:
        return None
    # 16, 24, 32, 48, 64, ...: at most half as many tokens again are computed
    power = max(16, 1 << (total - 1).bit_length())
    tokens = power * 3 // 4 if total <= power * 3 // 4 and power > 16 else power
    longest = max(128, 1 << (max(lengths) - 1).bit_length())
    wanted, texts = len(lengths) + -(-(tokens - total) // longest), 2
    while texts < wanted:
        texts *= 4
    return Size(tokens, texts, longest)


def filled(lengths: Sequence[int], size: Size) -> list[int]:
    """Return ``cu_seqlens`` of ``size.texts + 1`` entries: the texts, then filler texts, then empty ones."""
    spare = size.tokens - sum(lengths)
    filler = [size.longest] * (spare // size.longest)
    if spare % size.longest:
        filler.append(spare % size.longest)
    ends = [0, *accumulate([*lengths, *filler])]
    return ends + [size.tokens] * (size.texts + 1 - len(ends))


class Inputs:
    """The fixed input memory of a captured run: ids, types, positions and ``cu_seqlens``, sent in one transfer."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size = size
        count = 3 * size.tokens + size.texts + 1
        with torch.inference_mode(False):
            self.buffer = torch.zeros(count, dtype=torch.int32, device=device)
            self.staging = torch.zeros(count, dtype=torch.int32, pin_memory=device.type == "cuda")
        self._host = self.staging.numpy()  # the same memory
        self._sent = torch.cuda.Event() if device.type == "cuda" else None

    def fill(self, packed: Packed) -> None:
        """Copy a batch from the host or the device into the buffer; the rest of the buffer is valid filler."""
        if self._sent is not None:
            self._sent.synchronize()  # the last batch may still be in transfer from the staging memory
        tokens, on_host = self.size.tokens, packed.device.type == "cpu"
        self._host[3 * tokens :] = filled(packed.lengths, self.size)
        assert packed.input_ids is not None
        rows = (packed.input_ids, packed.token_type_ids, packed.position_ids)
        for start, row in zip((0, tokens, 2 * tokens), rows, strict=True):
            if on_host:
                self._host[start : start + len(row)] = row.numpy()
            else:
                self.buffer[start : start + len(row)].copy_(row)
        if on_host:
            self.buffer.copy_(self.staging, non_blocking=True)
        else:
            self.buffer[3 * tokens :].copy_(self.staging[3 * tokens :], non_blocking=True)
        if self._sent is not None:
            self._sent.record()

    def packed(self) -> Packed:
        """Return the buffer as a batch. On a device its lengths stay unknown to the host, which must not wait."""
        size = self.size
        ids, types, positions = self.buffer[: 3 * size.tokens].view(3, -1)
        # lengths of 0 say that some text may be empty
        unknown = HostStats((0,) * size.texts, (0, 0), (0, 0), (0, 0))
        return Packed(
            input_ids=ids,
            token_type_ids=types,
            position_ids=positions,
            cu_seqlens=self.buffer[3 * size.tokens :],
            shape=(size.texts, size.longest),
            known_stats=None if self.buffer.device.type == "cpu" else unknown,
        )


class CapturedModel:
    """The parts of a model and the addresses of its parameters at capture; a replay reads those addresses."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = list(model.modules())
        self.members = [
            (members, name, member)
            for module in self.modules
            for members in (module._modules, module._parameters)
            for name, member in members.items()
        ]
        self.parameters = [member for _, _, member in self.members if isinstance(member, Tensor)]
        self.addresses = [each.data_ptr() for each in self.parameters]

    def holds(self) -> bool:
        """Whether the model still has the same parts and parameters at the same addresses, and no hooks."""
        return (
            all(members.get(name) is member for members, name, member in self.members)
            and not any(each.training or each._forward_hooks or each._forward_pre_hooks for each in self.modules)
            and [each.data_ptr() for each in self.parameters] == self.addresses
        )


class Run(NamedTuple):
    """A captured run: its input memory, a function that replays it, and its output memory."""

    inputs: Inputs
    replay: Callable[[], Any]
    outputs: Outputs


# PyTorch captures all graphs of a process on one stream.
_CAPTURING = threading.Lock()


class GraphedModel:
    """The ``forward`` of a `BertModel` that replays graphs where possible; copied and pickled without them."""

    max_graphs = 32

    def __init__(self, model: Any) -> None:
        self.model = model
        self.runs: OrderedDict[Size, Run] = OrderedDict()
        self._captured: CapturedModel | None = None
        self._seen: Counter[Size] = Counter()
        self._lock = threading.Lock()
        self._copied: Any = None
        # all graphs share one memory pool, since one runs at a time and its outputs are copied out
        self._pool: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        GraphedModel.__init__(self, state["model"])

    def __call__(self, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        model = self.model
        found = None
        if isinstance(input_ids, Packed) and not is_tracing():
            plain = not args and all(value is None or name == "return_dict" for name, value in kwargs.items())
            if plain and not self.why_not(input_ids):
                found = self._replayed(model.pack_inputs(input_ids))
            if input_ids.device != model.device:
                input_ids = input_ids.to(model.device, non_blocking=True)
        if found is None:
            return type(model).forward(model, input_ids, *args, **kwargs)
        output = BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=found[0], pooler_output=found[1])
        return model.pad_outputs(output, input_ids, input_ids, kwargs.get("return_dict"))

    def why_not(self, packed: Packed) -> list[str]:
        """Return every reason not to replay a graph for ``packed``."""
        model, config = self.model, self.model.config
        reasons = {
            "it is in training mode": model.training,
            "gradients are enabled": torch.is_grad_enabled(),
            "autocast is on": torch.is_autocast_enabled(model.device.type),
            "it is a decoder": config.is_decoder,
            "it has observers, which must be called": has_observers(model),
            "attentions or hidden states of all layers are requested": config.output_attentions
            or config.output_hidden_states,
            "the batch has no ids, or has its own mask": packed.input_ids is None or packed.attention_mask is not None,
            "attention reads lengths on the host": self.reads_lengths(),
            "attention needs the score matrix": config.position_embedding_type != "absolute"
            or config.family.position_buckets > 0
            or config._attn_implementation == "eager",
        }
        return [reason for reason, holds in reasons.items() if holds]

    def reads_lengths(self) -> bool:
        """Whether attention needs the texts' lengths on the host, which a graph does not have."""
        model, config = self.model, self.model.config
        width = config.hidden_size // config.num_attention_heads
        return _backend(model.device.type, model.dtype, width) != "varlen"

    def _replayed(self, packed: Packed) -> Outputs | None:
        """Return the outputs for a batch; None if the model itself must be called."""
        size = rounded(packed.lengths)
        if size is None:
            return None
        with self._lock:
            self._seen[size] += 1
            if self._seen[size] < 2:  # a job's last batches often have sizes that occur only once
                return None
            if self._copied is not None:
                self._copied.wait()  # the previous thread may use another stream
            with torch.inference_mode():
                run = self._run(size, packed)
            if run is None:
                return None
            # copied at once: the next run may use the same memory
            counts = (packed.num_tokens, packed.shape[0])
            copies = tuple(
                None if each is None else each[:count].clone() for each, count in zip(run.outputs, counts, strict=True)
            )
            if self.model.device.type == "cuda":
                self._copied = self._copied or torch.cuda.Event()
                self._copied.record()
            return copies

    def _run(self, size: Size, packed: Packed) -> Run | None:
        """Return the run of this size with its outputs for the batch; None if the model has changed since."""
        run = self.runs.get(size)
        if run is not None:
            self.runs.move_to_end(size)
            run.inputs.fill(packed)
            run.replay()
        # checked while the device computes, so that it costs no time
        self._captured = self._captured or CapturedModel(self.model)
        if not self._captured.holds():
            self.runs.clear()
            self._captured = None
            return None
        if run is None:
            while len(self.runs) >= self.max_graphs:
                self.runs.popitem(last=False)
            inputs = Inputs(size, self.model.device)
            inputs.fill(packed)
            replay, outputs = self.capture(lambda: self._compute(inputs.packed()))
            run = self.runs[size] = Run(inputs, replay, outputs)
            replay()  # capturing computes nothing
        return run

    def _compute(self, packed: Packed) -> Outputs:
        output = type(self.model).forward(self.model, packed, return_dict=True)
        return output.last_hidden_state, output.pooler_output

    def capture(self, compute: Callable[[], Outputs]) -> tuple[Callable[[], Any], Outputs]:
        """Capture ``compute``, which uses fixed memory; return a function that replays it, and its output memory."""
        with _CAPTURING:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):  # warm-up: compilation, choice of kernels and workspaces cannot be captured
                    compute()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # other threads may use the device meanwhile
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = compute()
            return graph.replay, outputs


@lru_cache(maxsize=16)
def _backend(device: str, dtype: torch.dtype, head_width: int) -> str:
    return choose(Request(device, dtype, head_width)).name
