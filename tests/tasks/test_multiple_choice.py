"""Multiple choice: logits equal to the model's own, any number of choices, prompts in windows, and a summed loss."""

from typing import Any

import numpy as np
import pytest
import torch
from computing import compute, loss_of

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.metrics import MultipleChoiceMetric, Scores
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Features, Outputs
from bertie.tasks.multiple_choice import MultipleChoice

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
EQUAL = [("a b c d e", ["f", "g h i", "j"]), {"prompt": "b b", "choices": ["a c", "d", "e f g h"]}]
UNEQUAL = [*EQUAL, ("c", ["d", "e"]), ("a", ["b", "c", "d", "e", "f"])]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    return bertie.BertForMultipleChoice(config).eval()


def task_of(model: Any, **options: Any) -> MultipleChoice:
    return MultipleChoice(tokenizer=TOKENIZER, config=model.config, **options)


def logits_of(task: MultipleChoice, model: Any, inputs: Any) -> Any:
    return compute(task, model, task.encode(inputs))


def test_the_models_own_logits(model: Any) -> None:
    task = task_of(model)
    found = logits_of(task, model, EQUAL)
    pairs = [("a b c d e", choice) for choice in EQUAL[0][1]] + [("b b", choice) for choice in EQUAL[1]["choices"]]
    batch = TOKENIZER([one for one, _ in pairs], [other for _, other in pairs], padding=True, return_tensors="pt")
    with torch.inference_mode():
        own = model(**{name: values.view(2, 3, -1) for name, values in batch.items()}).logits
    torch.testing.assert_close(torch.from_numpy(np.stack(found)), own, atol=1e-6, rtol=0)


def test_any_number_of_choices(model: Any) -> None:
    task = task_of(model, top_k=None)
    features = task.encode(UNEQUAL)
    assert features.part_counts.tolist() == [3, 3, 2, 5]
    values = compute(task, model, features, batch_tokens=8)
    for number, one in enumerate(UNEQUAL):
        np.testing.assert_allclose(values[number], logits_of(task, model, [one])[0], atol=1e-6)
    answers = task.decode(Outputs(values, features))
    assert [len(answer) for answer in answers] == [3, 3, 2, 5]
    for answer, (_, choices) in zip(answers, [task.read(one) for one in UNEQUAL], strict=True):
        assert sum(one["score"] for one in answer) == pytest.approx(1)
        assert all(one["text"] == choices[one["choice"]] for one in answer)
        assert [one["score"] for one in answer] == sorted((one["score"] for one in answer), reverse=True)
    best = task_of(model).decode(Outputs(values, features))
    assert best == [answer[0] for answer in answers]
    assert task.predictions(Outputs(values, features)).tolist() == [one["choice"] for one in best]
    hot = task_of(model, temperature=100.0).decode(Outputs(values, features))
    assert hot[0]["choice"] == best[0]["choice"]
    assert hot[0]["score"] == pytest.approx(1 / 3, abs=0.05)


def test_the_loss_is_the_sum_of_each_inputs_cross_entropy(model: Any) -> None:
    task, gold = task_of(model), [2, 0, 1, 4]
    features = task.add_labels(task.encode(UNEQUAL), gold)
    loss = loss_of(task, model, features)
    values = compute(task, model, features)
    each = [
        torch.nn.functional.cross_entropy(torch.from_numpy(logits)[None], torch.tensor([label]))
        for logits, label in zip(values, gold, strict=True)
    ]
    assert float(loss.detach()) == pytest.approx(float(sum(each)), rel=1e-5)
    assert task.divisor(features) == 4
    joined = Features.concatenate([features.select_inputs([3, 0]), features.select_inputs([1, 2])])
    assert joined.part_counts.tolist() == [5, 3, 3, 2]
    parts = [loss_of(task, model, joined.select_inputs(part)) for part in ([0], [3, 1], [2])]
    assert float(sum(parts).detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    loss.backward()
    assert model.classifier.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_the_models_own_loss(model: Any) -> None:
    task = task_of(model)
    features = task.add_labels(task.encode(EQUAL), [1, 2])
    own = model(TaskModel(model).packed(features), labels=torch.tensor([1, 2]), num_choices=3).loss
    torch.testing.assert_close(loss_of(task, model, features) / 2, own)


@pytest.mark.parametrize("way", ["mean", "max"])
def test_long_prompts_are_read_in_windows(model: Any, way: str) -> None:
    task = task_of(model, windows=True, max_length=9, overlap=0, window_scores=way)
    inputs = [("a b c d e f g h i j", ["j", "h i"]), ("a", ["b", "c"])]
    features = task.encode(inputs)
    assert features.truncated == [0, 0]
    assert features.parts is not None
    assert features.parts.tolist() == [0, 0, 1, 1, 1, 0, 1]
    assert features.by_part().input_lengths() == [18, 27, 5, 5]
    first = [TOKENIZER.convert_ids_to_tokens(row) for row in features.input_ids[:2]]
    assert first == [["[CLS]", *"abcde", "[SEP]", "j", "[SEP]"], ["[CLS]", *"fghij", "[SEP]", "j", "[SEP]"]]
    values = compute(task, model, features)
    alone = task_of(model)
    windows = np.concatenate(logits_of(alone, model, [("a b c d e", ["j"]), ("f g h i j", ["j"])]))
    assert values[0][0] == pytest.approx(getattr(windows, way)(), abs=1e-6)
    labelled = task.add_labels(features, [1, 0])
    logits = [torch.from_numpy(one)[None] for one in values]
    expected = sum(
        torch.nn.functional.cross_entropy(one, torch.tensor([label])) for one, label in zip(logits, [1, 0], strict=True)
    )
    assert float(loss_of(task, model, labelled).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_truncated_tokens_are_counted(model: Any) -> None:
    features = task_of(model, max_length=8).encode([("a b c d e f g h", ["a", "b"]), ("", ["", ""])])
    assert features.truncated == [8, 0]
    assert features.empty == [False, True]


def test_temperature_and_metrics(model: Any) -> None:
    task, gold = task_of(model), [2, 0, 1, 4]
    features = task.encode(UNEQUAL)
    values = compute(task, model, features)
    tuned = task.tune(Outputs(values, features, gold))
    assert tuned.temperature != 1.0
    reliable = task.reliability(Outputs(values, features, gold))
    assert reliable is not None
    assert reliable.count.sum() == 4
    faults = task.errors(Outputs(values, features, gold))
    chosen = task.predictions(Outputs(values, features))
    assert [fault is None for fault in faults] == (chosen == gold).tolist()
    scores = Scores(task.metric())
    scores.add(chosen, task.references(gold))
    assert scores.metrics() == {"accuracy": np.mean(chosen == gold)}
    with pytest.raises(InputError, match="give one number per row"):
        MultipleChoiceMetric().rows(["a"], [1])


@pytest.mark.parametrize(
    ("one", "kind", "message"),
    [
        ("a prompt", InputTypeError, "Input 1 is 'a prompt'"),
        ({"prompt": "a"}, InputTypeError, "has 'prompt' and 'choices', not"),
        (("a", "b"), InputTypeError, "choices of input 1 are 'b'"),
        (("a", ["b", 3]), InputTypeError, "Input 1 holds 3"),
        (("a", []), InputError, "Input 1 has no choices"),
    ],
)
def test_bad_inputs_are_refused(model: Any, one: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        task_of(model).encode([EQUAL[0], one])


def test_a_label_beyond_the_choices(model: Any) -> None:
    task = task_of(model)
    with pytest.raises(InputError, match="label of input 1 is 3; its 3 choices are 0 to 2"):
        task.add_labels(task.encode(EQUAL), [0, 3])


def test_the_pipeline(model: Any) -> None:
    choose = bertie.pipeline("multiple-choice", model, tokenizer=TOKENIZER)
    one = choose("a b c d e", ["f", "g h i", "j"])
    assert set(one) == {"choice", "text", "score"}
    assert choose(EQUAL)[0] == pytest.approx(one)
    assert choose(EQUAL[1]) == pytest.approx(choose(EQUAL)[1])
    assert [len(answer) for answer in choose(UNEQUAL, top_k=2)] == [2, 2, 2, 2]
    assert list(choose(iter(EQUAL)))[1] == pytest.approx(choose(EQUAL[1]))
    assert choose([]) == []
    with pytest.raises(InputTypeError, match="needs its choices"):
        choose("a prompt")
    with pytest.raises(InputTypeError, match="choices belong to one prompt"):
        choose(["a prompt"], ["b"])
