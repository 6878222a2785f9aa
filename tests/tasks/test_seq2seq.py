"""Sequence to sequence: the reference's loss and gradients, packed sources and targets, and scored texts."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from computing import compute, loss_of

import bertie
from bertie.attention.dispatch import choose
from bertie.attention.request import Inputs
from bertie.errors import ConfigError, InputError, InputTypeError
from bertie.layers import attention as attention_layers
from bertie.tasks.features import Outputs
from bertie.tasks.seq2seq import Seq2Seq

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop"]
SOURCES = ["a b c d e f g", "h i", "j k l m n o p a b"]
TARGETS = [("a b",), ("c d e f g h",), ("i", "j k")]
SIZES = {
    "vocab_size": len(WORDS),
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.3,
}


@pytest.fixture(scope="module")
def tokenizer() -> bertie.BertTokenizer:
    return bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}, model_max_length=16)


@pytest.fixture
def model() -> bertie.EncoderDecoderModel:
    """Encoder and decoder of unequal size, as training starts from them."""
    torch.manual_seed(0)
    both = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(
        bertie.BertConfig(hidden_size=16, **SIZES), bertie.BertConfig(hidden_size=24, **SIZES)
    )
    return bertie.EncoderDecoderModel(both).eval()


def learning(tokenizer: Any, model: Any, **options: Any) -> Seq2Seq:
    task = Seq2Seq(tokenizer=tokenizer, config=model.config).with_options(**options)
    return task.on_train_start(model, TARGETS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_references_loss_and_gradients(tokenizer: Any, model: Any, smoothing: float) -> None:
    task = learning(tokenizer, model, label_smoothing=smoothing)
    features = task.add_labels(task.encode(SOURCES), TARGETS)
    loss = loss_of(task, model, features) / task.divisor(features)
    loss.backward()

    reference = transformers.EncoderDecoderModel(transformers.EncoderDecoderConfig.from_dict(model.config.to_dict()))
    reference.load_state_dict(model.state_dict(), strict=False)
    reference.eval()
    batch = tokenizer(SOURCES, padding=True, return_tensors="pt")
    words = tokenizer([right[0] for right in TARGETS], padding=True, return_tensors="pt").input_ids[:, 1:]
    labels = words.masked_fill(words == tokenizer.pad_token_id, -100)
    output = reference(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels)
    expected = output.loss
    if smoothing:
        expected = transformers.trainer_pt_utils.LabelSmoother(smoothing)({"logits": output.logits}, labels)
    expected.backward()

    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    theirs = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=2e-5, rtol=1e-4)


def test_no_padding_is_computed(tokenizer: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(q: Any, k: Any, v: Any, packed: Any, **more: Any) -> Any:
        named = {name: value for name, value in more.items() if name in ("causal", "dropout_p", "weights")}
        inputs = Inputs(q, k, v, packed, more.get("keys") or packed, **named)
        seen.append((len(q), len(k), choose(inputs.request).name == "dense"))
        return attend(q, k, v, packed, **more)

    attend = attention_layers.attend
    monkeypatch.setattr(attention_layers, "attend", watched)
    task = learning(tokenizer, model)
    features = task.add_labels(task.encode(SOURCES), TARGETS)
    task.run(bertie.models.task_model.TaskModel(model), features)
    sources = sum(len(text.split()) + 2 for text in SOURCES)
    targets = sum(len(right[0].split()) + 1 for right in TARGETS)
    assert task.divisor(features) == targets
    assert features.input_lengths() == [9 + 4, 4 + 8, 11 + 3]
    both = [(targets, targets, False), (targets, sources, False)]
    assert seen == [(sources, sources, False)] * 2 + both * 2
    # part of a batch has the same losses
    apart = [features.select_inputs([number]) for number in (2, 0, 1)]
    torch.testing.assert_close(
        sum(loss_of(task, model, each) for each in apart), loss_of(task, model, features), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"generation": {"num_beams": 3, "length_penalty": 0.5}}])
def test_answers_are_what_the_model_generates(tokenizer: Any, model: Any, options: dict[str, Any]) -> None:
    task = learning(tokenizer, model, **options)
    assert model.generation_config.max_length == 8  # of the longest target
    values = compute(task, model, task.encode(SOURCES), batch_size=2)
    batch = tokenizer(SOURCES, padding=True, return_tensors="pt")
    ids = model.generate(batch.input_ids, attention_mask=batch.attention_mask)
    written = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert task.predictions(Outputs(values, task.encode(SOURCES))) == written
    answers = bertie.pipeline("seq2seq", model, tokenizer=tokenizer, **options)(SOURCES)
    assert answers == [{"generated_text": text} for text in written]


def test_answers_are_scored(tokenizer: Any, model: Any) -> None:
    task = learning(tokenizer, model)
    rows = [np.array([[*tokenizer.convert_tokens_to_ids(text.split()), 3, 0, 0]]) for text in ("a b", "c d", "j k")]
    outputs = Outputs(rows, task.encode(SOURCES), TARGETS)
    assert task.predictions(outputs) == ["a b", "c d", "j k"]
    right, wrong, other = task.errors(outputs)
    assert right is None
    assert other is None  # it equals the second reference
    assert (wrong.expected, wrong.given) == ("c d e f g h", "c d")
    assert wrong.severity == pytest.approx(0.5)
    assert task.metric().lowercase is True


def test_a_target_is_cut_to_what_the_decoder_allows(tokenizer: Any, model: Any) -> None:
    assert learning(tokenizer, model).target_limit == 16
    task = learning(tokenizer, model, max_target_length=4)
    assert model.generation_config.max_length == 4
    features = task.add_labels(task.encode(SOURCES), TARGETS)
    assert features.truncated == [0, 4, 0]
    assert task.divisor(features) == 3 + 3 + 2


def test_the_saved_tokenizer_truncates_as_in_training(tokenizer: Any, model: Any) -> None:
    task = learning(tokenizer, model, max_length=6)
    assert (task.tokenizer.model_max_length, tokenizer.model_max_length) == (6, 16)
    features = task.encode(SOURCES)
    assert features.lengths == [6, 4, 6]
    assert Seq2Seq.from_inference_task(task.inference_task()).encode(SOURCES).truncated == features.truncated


def test_the_models_own_generation_settings_stay(tokenizer: Any, model: Any) -> None:
    model.config.decoder_start_token_id, model.config.eos_token_id = 5, 6
    task = learning(tokenizer, model, generation={"max_length": 12, "no_repeat_ngram_size": 2})
    features = task.add_labels(task.encode(SOURCES), TARGETS)
    assert [row[0] for row in features.input_ids] == [2, 5] * 3
    assert [row[-1] for row in features.input_ids] == [3, 6] * 3
    found = model.generation_config
    assert (found.eos_token_id, found.pad_token_id, found.decoder_start_token_id) == (6, 0, 5)
    assert (found.max_length, found.no_repeat_ngram_size) == (12, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_target_length": 17}, InputError, "max_target_length is 17; allowed are 1 to 16"),
        ({"generation": "beams"}, InputTypeError, "generation is 'beams'; give a mapping, such as {'num_beams': 4}"),
        ({"generation": {"num_beans": 4}}, InputTypeError, "no field 'num_beans'.*Did you mean 'num_beams'"),
        ({"generation": {"num_beams": 0}}, ConfigError, "num_beams is 0"),
    ],
)
def test_impossible_options_are_refused(tokenizer: Any, model: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        learning(tokenizer, model, **options)


def test_a_source_is_not_read_in_windows() -> None:
    with pytest.raises(InputTypeError, match="This task has no option 'windows'; it has .*max_target_length"):
        Seq2Seq.check_options({"windows": True})
