"""Run sentence-transformers' own tests without bertie and after `bertie.install()`; print counts and differing tests.

It needs a checkout of github.com/huggingface/sentence-transformers at the installed version, or the nearest one:

    python benchmarks/sentence_transformers_suite.py ../sentence-transformers [FOLDER OF tests/ …]

Nothing is downloaded: small models with random weights replace those that most tests name; tests that need others
fail both times.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

from bertie.hub import default_embedding_model

REVISION = "0" * 40
SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
PLUGIN = """
import sentence_transformers
import bertie

bertie.install()
"""


def main() -> None:
    """Run the tests twice and print the outcomes."""
    checkout, *folders = sys.argv[1:]
    tests = [str(Path(checkout).resolve() / "tests" / folder) for folder in folders or [""]]
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        make_stand_ins(home / "hub")
        (home / "with_bertie.py").write_text(PLUGIN, encoding="utf-8")
        without, with_bertie = (outcomes(home, checkout, tests, plugin) for plugin in ((), ("-p", "with_bertie")))
    print("without bertie:", dict(Counter(without.values())))
    print("bertie.install():", dict(Counter(with_bertie.values())))
    for name in sorted(without.keys() | with_bertie.keys()):
        if without.get(name) != with_bertie.get(name):
            print(f"{name}: {without.get(name)} → {with_bertie.get(name)}")


def outcomes(home: Path, checkout: str, tests: list[str], plugin: tuple[str, ...]) -> dict[str, str]:
    """Return the outcome of each test: passed, failed, error or skipped."""
    report = home / "report.xml"
    path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", f"--junitxml={report}", *plugin]
    subprocess.run([sys.executable, "-m", "pytest", *options, *tests], cwd=checkout, env=environment, check=False)
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kind = next((part.tag for part in case if part.tag in ("failure", "error", "skipped")), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = kind
    return found


def make_stand_ins(hub: Path) -> None:
    """Write small models with random weights to a hub cache, under the names that most tests use."""
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(default_embedding_model())
    config = transformers.BertConfig(vocab_size=len(tokenizer), num_labels=1, **SIZES)
    with tempfile.TemporaryDirectory() as made:
        bert = Path(made)
        for kind in (transformers.BertModel, transformers.BertForSequenceClassification, transformers.BertForMaskedLM):
            kind(config).save_pretrained(bert / kind.__name__)
            tokenizer.save_pretrained(bert / kind.__name__)
        base = Transformer(str(bert / "BertModel"), max_seq_length=512)
        models = {
            "sentence-transformers-testing/stsb-bert-tiny-safetensors": SentenceTransformer(
                modules=[base, Pooling(base.get_embedding_dimension())]
            ),
            "cross-encoder-testing/reranker-bert-tiny-gooaq-bce": CrossEncoder(
                str(bert / "BertForSequenceClassification")
            ),
            "sparse-encoder-testing/splade-bert-tiny-nq": SparseEncoder(
                modules=[MLMTransformer(str(bert / "BertForMaskedLM")), SpladePooling("max")]
            ),
        }
        for name, model in models.items():
            model.save_pretrained(str(place(hub, name)), create_model_card=False)
    sizes = {"dim": 128, "n_layers": 2, "n_heads": 2, "hidden_dim": 512}
    distilbert = transformers.DistilBertConfig(vocab_size=len(tokenizer), **sizes)
    folder = place(hub, "distilbert/distilbert-base-uncased")
    transformers.DistilBertForMaskedLM(distilbert).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def place(hub: Path, name: str) -> Path:
    """Return a model's folder in the hub cache."""
    model = hub / f"models--{name.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION, encoding="utf-8")
    return model / "snapshots" / REVISION


if __name__ == "__main__":
    main()
