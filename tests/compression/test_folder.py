"""A model's folder, opened: what its files hold and no more."""

from pathlib import Path

import pytest
import torch
from films import write_start

import bertie
from bertie.compression.folder import open_model


@pytest.mark.parametrize("has_pooler", [True, False])
def test_a_bare_encoder_has_a_pooler_if_its_files_do(
    has_pooler: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = write_start(tmp_path / "start", num_hidden_layers=1)
    made = bertie.BertModel(bertie.BertConfig.from_pretrained(start), add_pooling_layer=has_pooler)
    made.save_pretrained(start)
    opened = open_model(str(start)).model
    assert not caplog.messages
    stored = made.state_dict()
    assert opened.state_dict().keys() == stored.keys()
    assert all(torch.equal(values, stored[name]) for name, values in opened.state_dict().items())
