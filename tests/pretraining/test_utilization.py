"""Operations of a training step, against PyTorch's own count, and the share of a device's peak."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import bertie
from bertie.pretraining.utilization import Utilization, flops_per_token, peak_of

CONFIG = bertie.BertConfig(
    vocab_size=500, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48
)


def test_operations_equal_those_counted_by_pytorch() -> None:
    """For texts of one length with all tokens masked; PyTorch also counts the pooler and the next-sentence head."""
    model = bertie.BertForMaskedLM(CONFIG)
    ids = torch.randint(5, 500, (4, 40))
    with FlopCounterMode(display=False) as counter:
        model(ids, labels=ids, attention_mask=torch.ones(4, 1, 40, 40, dtype=torch.bool)).loss.backward()
    assert flops_per_token(CONFIG, 40, 1.0) * 160 == pytest.approx(counter.get_total_flops(), rel=0.06)


def test_utilization() -> None:
    used = Utilization(CONFIG, (16, 64), 0.15, torch.device("cpu"), "fp32")
    peak = used._peak
    record = {"tokens_per_second": 1000.0, "phase": 2}
    assert used.of(record) == 1000 * flops_per_token(CONFIG, 64, 0.15) / peak
    assert used.of({"tokens_per_second": 1000.0}) == 1000 * flops_per_token(CONFIG, 16, 0.15) / peak
    lines: list[dict] = []
    log = used.with_utilization(lines.append)
    log(record)
    log({"step": 1, "metrics": {}})
    assert lines == [record | {"mfu": round(used.of(record), 4)}, {"step": 1, "metrics": {}}]
    assert peak_of(torch.device("cpu"), "bf16") > 1e7
