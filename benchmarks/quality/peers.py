"""The peers: transformers' Trainer with the recipe of each task's guide, and sentence-transformers' for embeddings."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from job import CLIP, DECAY, WARMUP, Effort, Job
from transformers import (
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

Row = dict[str, Any]
Encode = Callable[[Any, list[Row], Any, int], list[Row]]
"""Tokenizer, rows, config, most tokens → what the data collator takes."""

_UNSEEN = -100
# tokens that windows of a question's context share
STRIDE = 128


def trainer(job: Job) -> Effort:
    """Train as a user of Trainer does, with padding to the longest text of each batch; texts are already ids."""
    model_class, encode, collator = RECIPES[job.task]
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.start)
    model = getattr(transformers, model_class).from_pretrained(job.start, dtype=torch.float32)
    data = encode(tokenizer, _read(job.train), model.config, job.max_length)
    collate = _Counting(collator(tokenizer))
    grouped = {"train_sampling_strategy": "group_by_length"} if job.options.get("grouped") else {}
    run = Trainer(
        model=model,
        args=TrainingArguments(**_arguments(job), **grouped),
        train_dataset=data,
        data_collator=collate,
        processing_class=tokenizer,
    )
    done = run.train()
    model.save_pretrained(job.out)
    tokenizer.save_pretrained(job.out)
    return Effort(done.metrics["train_runtime"], done.global_step, padding=collate.padding)


def sentences(job: Job) -> Effort:
    """Train embeddings by the squared error of the cosine."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    model = SentenceTransformer(job.start, device="cpu")
    model.max_seq_length = job.max_length
    data = [{**row, "score": row["score"] / 5} for row in _read(job.train)]
    run = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**_arguments(job)),
        train_dataset=Dataset.from_list(data),
        loss=CosineSimilarityLoss(model),
    )
    done = run.train()
    model.save(job.out)
    return Effort(done.metrics["train_runtime"], done.global_step, padding=None)


def _arguments(job: Job) -> dict[str, Any]:
    return {
        "output_dir": f"{job.out}/trainer",
        "num_train_epochs": job.epochs,
        "per_device_train_batch_size": job.batch_size,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": WARMUP,
        "weight_decay": DECAY,
        "max_grad_norm": CLIP,
        "seed": job.seed,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


class _Counting:
    """A data collator that counts how much of what it returns is padding."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate
        self._real = self._all = 0

    def __call__(self, features: list[Row]) -> Any:
        batch = self._collate(features)
        mask = batch["attention_mask"]
        self._real, self._all = self._real + int(mask.sum()), self._all + mask.numel()
        return batch

    @property
    def padding(self) -> float:
        return 1 - self._real / max(self._all, 1)


def _classified(tokenizer: Any, rows: list[Row], config: Any, most: int) -> list[Row]:
    columns = [[row[name] for row in rows] for name in ("text", "sentence1", "sentence2") if name in rows[0]]
    return _rows(tokenizer(*columns, truncation=True, max_length=most), [_label(row, config) for row in rows])


def _label(row: Row, config: Any) -> Any:
    if config.problem_type == "regression":
        return float(row["score"])
    if config.problem_type == "multi_label_classification":
        found = [0.0] * config.num_labels
        for name in row["labels"]:
            found[config.label2id[name]] = 1.0
        return found
    return config.label2id[row["label"]]


def _tagged(tokenizer: Any, rows: list[Row], config: Any, most: int) -> list[Row]:
    encoded = tokenizer([row["words"] for row in rows], is_split_into_words=True, truncation=True, max_length=most)
    labels = []
    for number, row in enumerate(rows):
        words = encoded.word_ids(number)
        firsts = [word if word != before else None for before, word in zip([None, *words], words, strict=False)]
        labels.append([_UNSEEN if word is None else config.label2id[row["tags"][word]] for word in firsts])
    return _rows(encoded, labels)


def _asked(tokenizer: Any, rows: list[Row], config: Any, most: int) -> list[Row]:
    del config
    encoded = tokenizer(
        [row["question"].lstrip() for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=most,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    found = []
    for number, (owner, places) in enumerate(zip(owners, offsets, strict=True)):
        span = _span(rows[owner]["answers"], places, encoded.sequence_ids(number))
        one = {name: encoded[name][number] for name in encoded}
        found.append({**one, "start_positions": span[0], "end_positions": span[1]})
    return found


def _span(answers: Row, offsets: Sequence[tuple[int, int]], sides: Sequence[int | None]) -> tuple[int, int]:
    """Return the first and last token of the first answer; [CLS] twice if this window does not hold it."""
    if not answers["text"]:
        return 0, 0
    start = answers["answer_start"][0]
    stop = start + len(answers["text"][0])
    context = [place for place, side in enumerate(sides) if side == 1]
    if offsets[context[0]][0] > start or offsets[context[-1]][1] < stop:
        return 0, 0
    inside = [place for place in context if offsets[place][1] > start and offsets[place][0] < stop]
    return inside[0], inside[-1]


def _chosen(tokenizer: Any, rows: list[Row], config: Any, most: int) -> list[Row]:
    del config
    found = []
    for row in rows:
        prompts = [row["prompt"]] * len(row["choices"])
        encoded = tokenizer(prompts, row["choices"], truncation=True, max_length=most)
        found.append({**{name: encoded[name] for name in encoded}, "labels": row["label"]})
    return found


def _rows(encoded: Any, labels: Sequence[Any]) -> list[Row]:
    return [
        {**{name: encoded[name][number] for name in encoded}, "labels": label} for number, label in enumerate(labels)
    ]


def _read(path: str) -> list[Row]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


RECIPES: dict[str, tuple[str, Encode, Any]] = {
    "sequence-classification": ("AutoModelForSequenceClassification", _classified, DataCollatorWithPadding),
    "token-classification": ("AutoModelForTokenClassification", _tagged, DataCollatorForTokenClassification),
    "question-answering": ("AutoModelForQuestionAnswering", _asked, DataCollatorWithPadding),
    "multiple-choice": ("AutoModelForMultipleChoice", _chosen, DataCollatorForMultipleChoice),
}
