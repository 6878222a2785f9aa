"""Every task gives the same answers for arrays as for tensors, and all its outputs are checked for NaN."""

import threading
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pytest
import torch

import bertie
from bertie.engine import Engine
from bertie.errors import BertieError
from bertie.layers.vector_modules import as_modules
from bertie.models.task_model import TaskModel
from bertie.tasks import inference
from bertie.tasks.embed import Embed
from bertie.tasks.feature_extraction import FeatureExtraction
from bertie.tasks.features import Features
from bertie.tasks.fill_mask import FillMask
from bertie.tasks.inference import compute_rows
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.pseudo_log_likelihood import PseudoLogLikelihood
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.reranking import Reranking
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.similarity import Similarity
from bertie.tasks.task import TrainableTask
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.text_generation import Generation
from bertie.tasks.token_classification import TokenClassification, WordTags
from bertie.tasks.vector_layers import ACTIVATIONS, Dense, LayerNorm, Normalize, apply_layers
from bertie.tasks.zero_shot import CandidateLabels

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij")]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
RANDOM = np.random.default_rng(0)


@dataclass(frozen=True)
class FakeEngine:
    """A `bertie.tasks.model.Model` that returns the outputs of a PyTorch model as arrays, as the engine does."""

    torch_model: TaskModel
    threads: int = 2
    asked: list[tuple[str, int]] = field(default_factory=list)  # the methods called, and with how many threads

    def __getattr__(self, name: str) -> Any:
        def arrays(*given: Any) -> Any:
            self.asked.append((name, self.threads))
            found = getattr(self.torch_model, name)(*given)
            return [each.detach().numpy() for each in found] if name == "layers" else found.detach().numpy()

        return arrays

    @property
    def config(self) -> Any:
        return self.torch_model.config

    @property
    def device_type(self) -> str:
        return "cpu"

    @property
    def dtype(self) -> str:
        return "float32"

    def inference(self) -> Any:
        return self.torch_model.inference()

    def with_threads(self, threads: int) -> Self:
        return type(self)(self.torch_model, threads, self.asked)


def model_of(name: str, **more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = bertie.BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **sizes, **more)
    made = getattr(bertie, name)(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += torch.randn(parameter.shape) * 0.2
    return made


def text(length: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(list("abcdefghij"), length))


TEXTS = [text(5, 1), text(40, 2), "", text(9, 3), text(23, 4)]
PAIRS = [("a b", "c d e"), ("f", text(30, 5)), (text(7, 6), "j"), ("a b", "b")]
LAYERS = (
    Dense(RANDOM.normal(size=(16, 16)).astype(np.float32), None, "GELU", adds=True),
    LayerNorm(*RANDOM.normal(size=(2, 16)).astype(np.float32)),
    Dense(*(RANDOM.normal(size=size).astype(np.float32) for size in ((12, 16), (12,))), "Tanh"),
    Normalize(),
)
WINDOWS = {"windows": True, "max_length": 10, "overlap": 2}
BIO = {"id2label": dict(enumerate(["O", "B-PER", "I-PER"]))}
TAGS = [["B-PER", "I-PER", "O"], ["O"] * 12, ["O"]]
SPAN = [{"answers": [{"text": "c d", "answer_start": 0}]}, {"answers": []}]

# task, the model's class, inputs, config, options, labels
CASES: dict[str, tuple[type, str, list[Any], dict[str, Any], dict[str, Any], Any]] = {
    "likelihood": (PseudoLogLikelihood, "BertForMaskedLM", TEXTS, {}, {"return_tokens": True}, None),
    "classes": (TextClassification, "BertForSequenceClassification", TEXTS, {"num_labels": 3}, {}, None),
    "every class": (TextClassification, "BertForSequenceClassification", TEXTS, {}, {"top_k": None}, ["LABEL_1"] * 5),
    "windows": (TextClassification, "BertForSequenceClassification", TEXTS, {}, WINDOWS, ["LABEL_0"] * 5),
    "highest window": (
        *(TextClassification, "BertForSequenceClassification", TEXTS, {"problem_type": "multi_label_classification"}),
        *({**WINDOWS, "window_scores": "max"}, [["LABEL_0"], [], ["LABEL_1"], [], ["LABEL_0", "LABEL_1"]]),
    ),
    "number": (
        *(TextClassification, "BertForSequenceClassification", TEXTS, {"num_labels": 1, "problem_type": "regression"}),
        *({}, [0.5, 1, 2, 3, 4]),
    ),
    "reranking": (Reranking, "BertForSequenceClassification", PAIRS, {"num_labels": 1}, WINDOWS, [1, 0, 0, 1]),
    "raw relevance": (
        *(Reranking, "BertForSequenceClassification", PAIRS, {"num_labels": 1}),
        *({"activation": "torch.nn.modules.activation.SiLU"}, [0.5, 0, 1, 1]),
    ),
    "tokens": (TokenClassification, "BertForTokenClassification", TEXTS, BIO, WINDOWS, None),
    "entities": (
        *(TokenClassification, "BertForTokenClassification", [["ab", "c", "d"], list("abcdefghijab"), ["j"]], BIO),
        *({"aggregation_strategy": "average", "scheme": "BIO", **WINDOWS}, TAGS),
    ),
    "tags of words": (WordTags, "BertForTokenClassification", [["ab", "c"]], BIO, {}, [["B-PER", "O"]]),
    "answers": (
        *(QuestionAnswering, "BertForQuestionAnswering", [("a", "c d e"), ("b", text(30))], {}),
        *({"max_length": 12, "handle_impossible_answer": True, "top_k": 3}, SPAN),
    ),
    "choices": (
        *(MultipleChoice, "BertForMultipleChoice", [(text(20), ["a", "b c", "d"]), ("e", ["f", "g"])], {}),
        *({"top_k": None, **WINDOWS}, [2, 0]),
    ),
    "next sentence": (NextSentence, "BertForNextSentencePrediction", PAIRS, {}, WINDOWS, [0, 1, 1, 0]),
    "fill mask": (FillMask, "BertForMaskedLM", ["a [MASK] c", f"{text(20)} [MASK] [MASK]"], {}, WINDOWS, None),
    "targets": (FillMask, "BertForMaskedLM", ["a [MASK] c"], {}, {"targets": ["d", "e"], "top_k": 5}, None),
    "masked lm": (MaskedLM, "BertForMaskedLM", TEXTS, {}, {"max_length": 10}, [None] * 5),
    "embed": (Embed, "BertModel", TEXTS, {}, {"recipe": Recipe(modes=("mean", "max", "weightedmean"))}, None),
    "first tokens": (Embed, "BertModel", TEXTS, {}, {"recipe": Recipe(modes=("cls",)), "normalize": True}, None),
    "prompt": (
        *(Embed, "BertModel", TEXTS, {}),
        *({"recipe": Recipe(modes=("mean_sqrt_len_tokens", "lasttoken"), include_prompt=False), "prompt": "a b"}, None),
    ),
    "layers": (
        *(Embed, "BertModel", TEXTS, {}, {"layers": LAYERS, "token_layers": LAYERS[:1]}),
        None,
    ),
    "layers of windows": (Embed, "BertModel", TEXTS, {}, {"layers": LAYERS, **WINDOWS}, None),
    "similarity": (Similarity, "BertModel", PAIRS, {}, {"layers": (Normalize(),), "scored": True}, [0, 0.5, 1, 0.2]),
    "partners": (Similarity, "BertModel", PAIRS, {}, WINDOWS, [None] * 4),
    "lists": (FeatureExtraction, "BertModel", TEXTS, {}, WINDOWS, None),
    "tensors": (FeatureExtraction, "BertModel", TEXTS, {}, {"return_tensors": True}, None),
}


def alike(one: Any, other: Any) -> None:
    """Check that answers are equal, their numbers within 1e-6."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            alike(*pair)
    elif isinstance(one, float | np.ndarray | torch.Tensor):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    else:
        assert one == other


@pytest.mark.parametrize("own", [False, True], ids=["fake", "engine"])
@pytest.mark.parametrize("case", CASES)
def test_arrays_and_tensors_give_the_same_answers(case: str, own: bool) -> None:
    kind, name, inputs, fields, options, labels = CASES[case]
    model = model_of(name, **fields)
    task = kind(tokenizer=TOKENIZER, config=model.config, **options)
    features = task.encode(inputs)
    on_tensors = task
    if options.get("layers"):
        modules = {each: as_modules(getattr(task, each), model.device) for each in ("layers", "token_layers")}
        on_tensors = kind(tokenizer=TOKENIZER, config=model.config, **{**options, **modules})
    engine = Engine.of(model) if own else FakeEngine(TaskModel(model))
    found = task.outputs(compute_rows(task, engine, features), features, labels or ())
    expected = on_tensors.outputs(compute_rows(on_tensors, TaskModel(model), features), features, labels or ())
    alike(list(task.decode(found)), list(on_tensors.decode(expected)))
    if isinstance(task, TrainableTask) and labels is not None:
        alike(list(task.predictions(found)), list(on_tensors.predictions(expected)))
        alike(task.errors(found), on_tensors.errors(expected))
        tuned, expected_tuned = (vars(each.tune(outputs)) for each, outputs in ((task, found), (on_tensors, expected)))
        for option in ("temperature", "thresholds", "no_answer_threshold"):
            alike(tuned.get(option), expected_tuned.get(option))


def test_every_task_is_compared() -> None:
    from bertie.tasks.registry import ROWS

    # generation is compared in tests/engine/test_text_decoder.py and tests/pipelines, zero-shot tasks in
    # tests/pipelines/test_zero_shot.py
    rows = [row for row in ROWS if not issubclass(row.load_task(), Generation | CandidateLabels)]
    named = {row.load_task() for row in rows} | {row.load_trainable() for row in rows}
    assert named <= {kind for kind, *_ in CASES.values()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_torch(name: str) -> None:
    numbers = np.concatenate([np.linspace(-8, 8, 1001), [0.5, -0.5, 1, -1, 3, -3, 6, 90, -90]]).astype(np.float32)
    expected = getattr(torch.nn, name)()(torch.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](numbers.copy()), expected, rtol=2e-6, atol=4e-6)
    assert ACTIVATIONS[name](numbers).dtype == np.float32


CLASSIFY = CASES["classes"]


def classifier() -> tuple[TextClassification, FakeEngine]:
    model = model_of("BertForSequenceClassification")
    return TextClassification(tokenizer=TOKENIZER, config=model.config), FakeEngine(TaskModel(model))


def test_each_core_computes_a_batch() -> None:
    task, engine = classifier()
    features = task.encode([text(20, number) for number in range(60)])
    many = compute_rows(task, engine, features)
    assert len(engine.asked) >= 2
    assert {threads for _, threads in engine.asked} == {1}
    engine.asked.clear()
    np.testing.assert_allclose(compute_rows(task, engine, features.select_inputs([0])), many[:1], atol=1e-6)
    assert engine.asked == [("logits", 2)]  # one text gets all cores


def test_a_batch_that_exhausts_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    task, engine = classifier()
    features = task.encode(TEXTS)
    expected, run, seen = compute_rows(task, engine, features), TextClassification.run, []

    def small(self: Any, model: Any, part: Any) -> Any:
        seen.append(len(part.ids))
        if len(part.ids) > 30:
            raise MemoryError
        return run(self, model, part)

    monkeypatch.setattr(TextClassification, "run", small)
    np.testing.assert_allclose(compute_rows(task, engine, features), expected, atol=1e-6)
    assert max(seen) > 30


@pytest.mark.parametrize(
    ("name", "place"),
    [("bert.encoder.layer.1.output.dense.bias", "encoder layer 1"), ("classifier.bias", "the head")],
)
def test_nan_in_arrays_is_reported_with_its_layer(name: str, place: str) -> None:
    task, engine = classifier()
    with torch.no_grad():
        engine.torch_model.module.get_parameter(name).fill_(torch.nan)
    with pytest.raises(BertieError, match=f"first in {place}, for text 1[0-4] .computed in float32"):
        compute_rows(task, engine, task.encode(TEXTS), first=10)


def test_large_finite_numbers_are_accepted() -> None:
    values = np.full((4, 2), 3e38, np.float32)  # their sum is not finite
    assert not np.isfinite(inference.operations_on(values).total(values))
    inference.refuse_non_finite(values, classifier()[1], classifier()[0].encode(TEXTS[:4]), range(4))


def test_several_threads_can_compute() -> None:
    task, engine = classifier()
    features = task.encode([text(20, number) for number in range(60)])
    seen = set()

    def note(_: float) -> None:
        seen.add(threading.get_ident())

    compute_rows(task, engine, features, advance=note)
    assert threading.get_ident() not in seen


@pytest.mark.parametrize(
    "case", ["entities", "tokens", "answers", "choices", "layers of windows", "fill mask", "lists"]
)
def test_requests_of_several_callers_share_batches(case: str) -> None:
    kind, name, inputs, fields, options, _ = CASES[case]
    model = model_of(name, **fields)
    task, engine = kind(tokenizer=TOKENIZER, config=model.config, **options), FakeEngine(TaskModel(model))
    requests = [task.encode(inputs[:1]), task.encode(inputs[1:]), task.encode(inputs[:1])]
    together = Features.concatenate(requests)
    alone = [task.decode(task.outputs(compute_rows(task, engine, part), part)) for part in requests]
    engine.asked.clear()
    answers = task.decode(task.outputs(compute_rows(task, engine, together), together))
    assert len(engine.asked) == 1
    alike(list(answers), [answer for part in alone for answer in part])


def test_windows_and_whole_texts_can_be_concatenated() -> None:
    cut, whole = (
        TextClassification(tokenizer=TOKENIZER, config=bertie.BertConfig(), **more).encode(["a b c d e f g h i j"])
        for more in (WINDOWS, {})
    )
    joined = Features.concatenate([cut, whole])
    assert cut.owned is not None
    assert joined.owned is not None
    assert joined.owned.tolist() == [*cut.owned.tolist(), *[True] * len(whole.ids)]
    assert joined.encodings is None  # whole texts have none


def test_vector_layers_are_bitwise_independent_of_the_batch() -> None:
    vectors = RANDOM.normal(size=(300, 16)).astype(np.float32)
    alone = np.concatenate([apply_layers(LAYERS, vectors[row : row + 1]) for row in range(300)])
    np.testing.assert_array_equal(apply_layers(LAYERS, vectors), alone)
