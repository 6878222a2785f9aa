"""Files of transformers 4's TFBert… and FlaxBert… classes are read, and they read those written here.

Slow, and only where BERTIE_TRANSFORMERS_4 is a Python with them: in an environment of its own,
pip install transformers==4.46.3 "tensorflow-cpu==2.18.*" "tf-keras==2.18.*" "flax==0.10.*" "jax[cpu]==0.4.35"
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from old_transformers import CLASSES, IDS, MASK, SIZES

import bertie

PYTHON = os.environ.get("BERTIE_TRANSFORMERS_4", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="BERTIE_TRANSFORMERS_4 names no Python")]
LIBRARIES = {"TF": ("h5", {"from_tf": True}), "Flax": ("msgpack", {"from_flax": True})}


def run(what: str, folder: Path) -> str:
    path = Path(__file__).with_name("old_transformers.py")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([PYTHON, str(path), what, str(folder)], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    run("write", folder)
    return folder


def compare(model: Any, name: str, outputs: Path) -> None:
    """Compare a model's outputs with those of the other library, at the places of real tokens."""
    shape = (1, 2, 5) if name == "ForMultipleChoice" else (2, 5)
    ids, mask = (torch.from_numpy(each).long().view(shape) for each in (IDS, MASK))
    found = model(ids, attention_mask=mask)
    stored = np.load(outputs)
    assert set(stored.files) <= {*found.keys()}
    for key in stored.files:
        ours, other = found[key].detach().numpy(), stored[key]
        keep = MASK.astype(bool) if other.shape[:2] == MASK.shape else ...
        np.testing.assert_allclose(ours[keep], other[keep], atol=2e-5 * max(1, abs(other).max()), err_msg=key)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_files_of_transformers_4_are_read(library: str, name: str, theirs: Path) -> None:
    folder = theirs / library / name
    model, info = getattr(bertie, f"Bert{name}").from_pretrained(
        folder, output_loading_info=True, **LIBRARIES[library][1]
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    compare(model, name, folder / "outputs.npz")


@pytest.mark.parametrize("name", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_siblings_of_transformers_4_are_read(library: str, name: str, theirs: Path) -> None:
    folders = sorted((theirs / library).glob(f"[!F]*{name}"))
    assert len(folders) >= 4
    for folder in folders:
        model = getattr(bertie, f"Bert{name}").from_pretrained(folder, **LIBRARIES[library][1])
        compare(model, name, folder / "outputs.npz")


def test_written_files_are_read_by_transformers_4(tmp_path: Path) -> None:
    models = {}
    for name in CLASSES:
        labels = 2 if name == "ForQuestionAnswering" else 3
        config = bertie.BertConfig(**SIZES | {"num_labels": labels}, is_decoder=name == "LMHeadModel")
        models[name] = getattr(bertie, f"Bert{name}")(config).eval()
        with torch.no_grad():
            for parameter in models[name].parameters():
                parameter.normal_(std=0.5)
        models[name].save_pretrained(tmp_path / "ours" / name)
        for library, (form, _) in LIBRARIES.items():
            bertie.convert(tmp_path / "ours" / name, tmp_path / library / name, form)
    missing = json.loads(run("read", tmp_path).splitlines()[-1])
    assert not any(missing.values()), missing
    for library in LIBRARIES:
        for name, model in models.items():
            compare(model, name, tmp_path / library / name / "outputs.npz")
