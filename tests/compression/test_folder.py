"""A model's folder is opened with what its files contain and no more."""

from pathlib import Path

import pytest
import torch
from films import write_start

import bertie
from bertie.compression.folder import Opened, open_model


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


@pytest.mark.parametrize("front", [b"", b"---\nlicense: apache-2.0\n---\n\n"])
def test_scores_of_the_original_are_not_copied(front: bytes, tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", num_hidden_layers=1)
    for name in ("report.md", "report.html", "results.json", "run.json", "LICENSE"):
        (start / name).write_text("{}")
    (start / "README.md").write_bytes(front + b"# accuracy 0.9\n")
    model = bertie.BertModel.from_pretrained(start, add_pooling_layer=False)
    for source, out in ((start, tmp_path / "made"), (tmp_path / "made", tmp_path / "again")):
        Opened(model, None, source, "").write(out, model)
        assert {"LICENSE", "run.json", "vocab.txt"} < {path.name for path in out.iterdir()}
        assert not {"report.md", "report.html", "results.json"} & {path.name for path in out.iterdir()}
        note = b"> This is the card of the model that this one was made from by bertie; its figures are that model's."
        assert (out / "README.md").read_bytes() == front + note + b"\n\n# accuracy 0.9\n"
