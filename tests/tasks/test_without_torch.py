"""No task needs PyTorch to be read, and with arrays it computes what it computes with tensors."""

import subprocess
import sys
from pathlib import Path

import bertie.tasks

BESIDE = {"summed_losses", "tensors"}
"""What works on tensors alone: imported by the methods that are given some."""


def test_no_file_of_the_tasks_needs_torch() -> None:
    files = sorted(path.stem for path in Path(bertie.tasks.__file__).parent.glob("*.py"))
    names = [f"bertie.tasks.{name}" for name in files if name not in {"__init__", *BESIDE}]
    code = f"import importlib, sys; sys.modules['torch'] = None; [importlib.import_module(name) for name in {names}]"
    subprocess.run([sys.executable, "-c", code], check=True)


ANSWER = """
import sys
sys.modules["torch"] = None
from contextlib import nullcontext
import numpy as np
from bertie import BertTokenizer
from bertie.config import BertConfig
from bertie.generation.generation_config import GenerationConfig
from bertie.tasks.inference import compute_rows
from bertie.tasks.registry import ROWS
from bertie.tasks.vector_layers import Dense, Normalize

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
table = np.random.default_rng(0).normal(size=(len(words), len(words))).astype(np.float32)


class Model:
    device_type, dtype, threads, generation_config = "cpu", "float32", 2, GenerationConfig()

    def __init__(self, config, of_tokens):
        self.config, self.of_tokens = config, of_tokens

    def hidden_states(self, features):
        return table[features.ids]

    def first_tokens(self, features):
        return table[features.ids[np.cumsum([0, *features.lengths[:-1]])]]

    def logits(self, features):
        states = self.hidden_states(features) if self.of_tokens else self.first_tokens(features)
        return states[:, : self.config.num_labels]

    def masked_lm(self, features, places):
        return table[features.ids[places]]

    def next_sentence(self, features):
        return self.first_tokens(features)[:, :2]

    def generate(self, rows, options):
        return np.full((len(rows.lengths), max(rows.lengths) + 1), 5)

    def with_threads(self, threads):
        return self

    def inference(self):
        return nullcontext()


inputs = {
    "fill-mask": "a [MASK] c",
    "multiple-choice": ("a b", ["c", "d"]),
    "reranking": ("a", "b"),
    "question-answering": ("a", "b c d"),
    "next-sentence": ("a", "b"),
}
for row in ROWS:
    config = BertConfig(vocab_size=len(words), hidden_size=len(words), num_attention_heads=1,
                        is_decoder=row.name == "text-generation",
                        num_labels=1 if row.name in ("reranking", "multiple-choice") else 2)
    more = {"layers": (Dense(table, None, "GELU"), Normalize())} if row.name == "embed" else {}
    if row.name.startswith("zero-shot"):
        config.label2id = {"contradiction": 0, "entailment": 1}
        more = {"candidate_labels": "d, e", "hypothesis_template": "{}"}
    task = row.load_task()(tokenizer=tokenizer, config=config, **more)
    features = task.encode([inputs.get(row.name, "a b c")] * 40)
    model = Model(config, row.name in ("token-classification", "question-answering"))
    answers = task.decode(task.outputs(compute_rows(task, model, features), features))
    assert len(answers) == 40, row.name
    if row.learns:
        row.load_trainable().from_inference_task(task)
"""


def test_every_task_answers_without_torch() -> None:
    subprocess.run([sys.executable, "-c", ANSWER], check=True)
