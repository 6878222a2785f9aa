"""A task with several outputs and several kinds of labels: masked tokens and next sentences learned together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie
from bertie.config import IGNORED
from bertie.data.example import Example
from bertie.engine import Engine
from bertie.errors import BertieError
from bertie.finetuning.task_learner import TaskLearner, encode_examples
from bertie.models.task_model import TaskModel
from bertie.settings import Settings
from bertie.tasks.features import Features
from bertie.tasks.inference import compute_rows
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.similarity import Similarity
from bertie.training import train

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
PAIRS = [("a b c d", "e f"), ("g", "h i j a b c"), ("c d e f g h", "b"), ("i j", "a")]
FOLLOWS = [0, 1, 1, 0]
NAMES = ("masked_lm", "next_sentence")


@dataclass(frozen=True, kw_only=True)
class Pretraining(MaskedLM):
    """BERT's pretraining task: the masked tokens of a pair, and whether its second text follows the first."""

    windows: bool = False

    def add_labels(self, features: Features, labels: Sequence[int]) -> Features:
        return features.with_labels(np.asarray(labels, np.int64), name="follows")

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        return self.apply_fixed_masking(features)  # the same in every step, so that the reference can see the same

    def run(self, model: Any, features: Features) -> Mapping[str, Any]:
        return model.pretraining(features, np.flatnonzero(features.targets != IGNORED))

    def divisor(self, features: Features) -> Mapping[str, float]:
        return dict(zip(NAMES, (super().divisor(features), float(features.num_inputs)), strict=True))

    def loss(self, output: Mapping[str, Any], features: Features) -> torch.Tensor:
        from bertie.tasks.summed_losses import cross_entropy_sum

        wanted = features.targets[features.targets != IGNORED], features.labels["follows"].values
        return torch.stack([cross_entropy_sum(output[name], gold) for name, gold in zip(NAMES, wanted, strict=True)])


def models() -> tuple[bertie.BertForPreTraining, transformers.BertForPreTraining]:
    torch.manual_seed(0)
    reference = transformers.BertForPreTraining(transformers.BertConfig(**SIZES))
    model = bertie.BertForPreTraining(bertie.BertConfig(**SIZES))
    model.load_state_dict(reference.state_dict())
    return model, reference


@pytest.mark.parametrize("micro_tokens", [10_000, 12])
def test_masked_tokens_and_next_sentences_are_learned_together(micro_tokens: int) -> None:
    model, reference = models()
    task = Pretraining(tokenizer=TOKENIZER, config=model.config)
    examples = [Example(pair, label) for pair, label in zip(PAIRS, FOLLOWS, strict=True)]
    features = encode_examples(task, examples, False)
    masked = task.apply_fixed_masking(features)
    packed = bertie.Packed.from_flat(masked.ids, masked.lengths, masked.types)
    ids, types = packed.pad(packed.input_ids), packed.pad(packed.token_type_ids)
    expected = reference(
        input_ids=ids,
        token_type_ids=types,
        attention_mask=packed.pad(torch.ones_like(packed.input_ids)),
        labels=packed.pad(torch.from_numpy(masked.targets), fill=IGNORED),
        next_sentence_label=torch.tensor(FOLLOWS),
    )
    expected.loss.backward()
    seen: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda one, name=name: seen.update({name: one.grad.clone()}))
    learner = TaskLearner(task, model, features, [""] * len(examples))
    settings = Settings(batch_size=4, steps=1, log_every=1, micro_tokens=micro_tokens, learning_rate=1e-9)
    (record, *_) = train(learner, settings, show_progress=False).records
    assert record["loss"] == pytest.approx(expected.loss.item(), rel=1e-5)
    follows = torch.nn.functional.cross_entropy(expected.seq_relationship_logits, torch.tensor(FOLLOWS)).item()
    assert record["next_sentence_loss"] == pytest.approx(follows, rel=1e-5)
    assert record["masked_lm_loss"] == pytest.approx(expected.loss.item() - follows, rel=1e-5)
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(seen[name], parameter.grad, atol=2e-5, rtol=0, msg=name)


def test_several_outputs_are_the_same_for_arrays_and_all_are_checked_for_nan() -> None:
    model, _ = models()
    task = Pretraining(tokenizer=TOKENIZER, config=model.config)
    features = task.apply_fixed_masking(task.add_labels(task.encode(PAIRS), FOLLOWS))
    engine = Engine.of(model.eval())
    found = task.run(engine, features)
    with torch.inference_mode():
        expected = task.run(TaskModel(model), features)
    places = np.flatnonzero(features.targets != IGNORED)
    for name, alone in zip(NAMES, (engine.masked_lm(features, places), engine.next_sentence(features)), strict=True):
        np.testing.assert_allclose(found[name], expected[name].numpy(), atol=1e-6)
        np.testing.assert_allclose(found[name], alone, atol=1e-6)
    with torch.no_grad():
        model.cls.seq_relationship.bias.fill_(torch.nan)

    @dataclass(frozen=True, kw_only=True)
    class Kept(Pretraining):
        def rows(self, output: Mapping[str, Any], features: Features) -> list[None]:
            return [None] * len(features.lengths)

    kept = Kept(tokenizer=TOKENIZER, config=model.config)
    with pytest.raises(BertieError, match="first in the head"):
        compute_rows(kept, TaskModel(model), features)


def test_perfect_retrieval_is_not_taken_for_a_constant_answer() -> None:
    task = Similarity(tokenizer=TOKENIZER, config=bertie.BertConfig(**SIZES))
    assert [task.signature(np.int64(rank)) for rank in (1, 5)] == [None, 5]


def test_a_wrapper_gives_the_first_tokens_of_its_model() -> None:
    class Wrapper(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.inner, self.config = model, model.config

        def forward(self, *args: Any, **options: Any) -> Any:
            return self.inner(*args, **options)

    model = bertie.BertModel(bertie.BertConfig(**SIZES, return_dict=False)).eval()
    features = MaskedLM(tokenizer=TOKENIZER, config=model.config).cut(["a b c d", "e f"])
    with torch.inference_mode():
        found, expected = (TaskModel(each).first_tokens(features) for each in (Wrapper(model), model))
    torch.testing.assert_close(found, expected)
