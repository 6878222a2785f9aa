"""Token classification: a label for every word, and the entities that the labels form (BERT, section 5.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from bertie.config import IGNORED
from bertie.data.tag_schemes import OUTSIDE, SCHEMES, Rules, find_entities, guess_scheme, make_tags
from bertie.errors import InputTypeError
from bertie.metrics import EntityMetric, Metric
from bertie.metrics.entities import entities_metric
from bertie.progress import say_once
from bertie.tasks.alignment import LABEL_PIECES, MERGES, Alignment, words_read
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.calibrated_tasks import CalibratedTask, CalibrationSet
from bertie.tasks.class_labels import ClassificationTask
from bertie.tasks.entity_decoding import STRATEGIES, Grouper, best_labels
from bertie.tasks.features import Features, Outputs
from bertie.tasks.head_init import init_bias, log_priors
from bertie.tasks.operations import Loss
from bertie.tasks.task import Task, TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import wrong_type
from bertie.tasks.windows import first_piece
from bertie.tokenization.encoding import Encoding


@dataclass(frozen=True, kw_only=True)
class TokenClassification(ClassificationTask, CalibratedTask):
    """An answer is a list of mappings: one per token with ``aggregation_strategy="none"``, else one per entity.

    A token's mapping has ``entity`` (its label), ``score``, ``index``, ``word``, ``start``, ``end``; an entity's has
    ``entity_group`` (its type), ``score``, ``word``, ``start``, ``end``. ``text[start:end]`` is the original text;
    ``word`` is decoded from tokens. The score of an entity is the mean, over its words, of the probability of the
    word's label.

    An input is a text or a list of words, whose ``start`` and ``end`` refer to ``delimiter.join(words)``. The
    reference's option ``stride`` sets ``windows`` and ``overlap``.
    """

    # "none" answers token by token, "simple" joins neighbouring tokens of a type; "first", "average" and "max" label
    # whole words, by their first piece, the mean of their pieces' probabilities, or the most confident piece. Words are
    # those that the tokenizer splits a text into, and with a scheme those of a list of words
    aggregation_strategy: str = "none"
    ignore_labels: Sequence[str] | None = None  # labels, or entity types, left out of the answer; None: O
    # one of `bertie.data.tag_schemes.SCHEMES`: a text gets its most probable valid tag sequence, so that no I- is
    # without its B-. None, as in the reference: each token or word gets its best label
    scheme: str | None = None
    is_split_into_words: bool = False  # True takes a list of strings as the words of one text
    delimiter: str | None = None  # between words; None: a space
    label_pieces: str = "first"  # whether training labels a word's "first" piece or "all" of them
    works_on_tokens: ClassVar[bool] = True
    aliases: ClassVar[tuple[str, ...]] = (*CalibratedTask.aliases, "stride")
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("text",), ("words",), ("tokens",))
    saved: ClassVar[tuple[str, ...]] = (
        *TrainableTask.saved,
        *("aggregation_strategy", "scheme", "label_pieces", "temperature"),
    )
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "aggregation_strategy": STRATEGIES,
        "scheme": SCHEMES,
        "label_pieces": LABEL_PIECES,
    }
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": EntityMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.ignore_labels, str):
            raise InputTypeError(f"ignore_labels is {self.ignore_labels!r}; give a list of labels.")
        self.check_length("class_weights")

    @classmethod
    def resolve_aliases(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super().resolve_aliases(options)
        stride = found.pop("stride", None)
        return found if stride is None else {**found, "windows": True, "overlap": stride}

    # texts or lists of words → features

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        texts = [self.read(one, number) for number, one in enumerate(inputs, first)]
        kinds = [isinstance(text, list) for text in texts]
        if any(kinds) and not all(kinds):
            odd = kinds.index(not kinds[0])
            raise InputTypeError(
                f"Input {first + odd} is a {'list of words' if kinds[odd] else 'text'}, but input {first} is not: give "
                "either texts or lists of words."
            )
        return replace(self.features_of(texts), texts=texts)

    def read(self, given: object, number: int = 0) -> str | list[str]:
        if isinstance(given, Mapping):
            if list(given) != ["text"]:
                raise InputTypeError(f"A text given as a mapping has 'text' alone, not {sorted(given)}.")
            given = given["text"]
        if isinstance(given, list | tuple) and all(isinstance(word, str) for word in given):
            return list(given)
        if not isinstance(given, str):
            raise wrong_type(number, given, "a str or a list of words")
        return given

    def rows_of(self, texts: Sequence[Any], **more: Any) -> Iterable[Encoding]:
        return super().rows_of(texts, is_split_into_words=bool(texts) and isinstance(texts[0], list), **more)

    # features → answers

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        """Return the logits ``[n, C]`` of each input's pieces, each from the window that owns it."""
        own, found = features.keep_owned(rows), []
        for group in features.groups():
            first, count = first_piece(group.encodings[0]), group.read.stop - group.read.start
            found.append(np.concatenate([own[row] for row in group.rows])[first : first + count])
        return found

    def decode(self, outputs: Outputs) -> list[Any]:
        return self._grouper.answers(self._piece_scores(outputs), outputs.features.groups())

    def _piece_scores(self, outputs: Outputs) -> Array:
        """Return the scores ``[T, C]`` of the pieces of all texts, concatenated."""
        return self.probabilities(np.concatenate([np.zeros((0, len(self._labels)), np.float32), *outputs.values]))

    @cached_property
    def _labels(self) -> list[str]:
        return [self.config.id2label[number] for number in range(self.config.num_labels)]

    @cached_property
    def _grouper(self) -> Grouper:
        ignored = ["O"] if self.ignore_labels is None else self.ignore_labels
        delimiter = " " if self.delimiter is None else self.delimiter
        return Grouper(self._labels, self.aggregation_strategy, ignored, self.scheme, self.tokenizer, delimiter)

    # labels → loss

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        return {"id2label": dict(enumerate(labels))}

    def expects(self) -> tuple[str | None, list[str] | None]:
        return None, self._labels

    def prepare_labels(self, labels: Sequence[Any]) -> Self:
        scheme = self.scheme or guess_scheme(self._labels, labels)
        # labels in IOB1 do not tell whether the model learned IOB1 or BIO, so neither is imposed on it
        imposed = None if self.scheme is None and scheme == "IOB1" else scheme
        by_labels = "first" if self.label_pieces == "first" else "average"
        strategy = by_labels if self.aggregation_strategy == "none" else self.aggregation_strategy
        return replace(self, scheme=imposed, aggregation_strategy=strategy)

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        numbers = [self.number_of(tag, "tag") for tags in labels for tag in tags]
        counts = np.bincount(numbers, minlength=self.config.num_labels)
        init_bias(model.classifier, log_priors(counts, self.class_weights))
        return super().on_train_start(model, labels)

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        targets = np.full(len(features.ids), IGNORED, np.int64)
        num_without_pieces = 0
        for group, tags in zip(features.groups(), labels, strict=True):
            words = group.words
            numbers = words.piece_labels([self.number_of(tag, "tag") for tag in tags], self.label_pieces)
            num_without_pieces += len(words.without_pieces)
            for row, encoding in zip(group.rows, group.encodings, strict=True):
                window, first = encoding.windows[-1], features.starts[row] + first_piece(encoding)
                targets[first : first + len(window.ids)] = numbers[window.start : window.stop]
        if features.owned is not None:
            targets[~features.owned] = IGNORED
        if num_without_pieces:
            say_once("Some words have no token (only control characters); their labels are ignored.")
        return features.with_labels(targets, "token")

    def divisor(self, features: Features) -> float:
        return self.weight_of(features.targets)

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed cross-entropy of logits ``[T, C]`` over the labelled pieces."""
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(output, features.targets, **self.loss_options)

    # labels → metrics

    def metric(self) -> Metric:
        return entities_metric(self._labels, self.scheme)

    def tune(self, outputs: Outputs) -> Self:
        return super(TokenClassification, self.prepare_labels(outputs.labels)).tune(outputs)

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        """Return the logits ``[n, C]`` of all words that were read, from their first pieces, and their tag numbers."""
        words, _ = words_read(outputs.features.groups())
        numbers = [self.config.label2id.get(tag, -1) for tags in outputs.labels for tag in tags]
        gold = np.array(numbers, np.int64)[words.numbers]
        known = gold >= 0  # rows to score may have tags that the model lacks
        logits = np.concatenate([np.zeros((0, len(self._labels))), *outputs.values])
        return CalibrationSet(logits[words.firsts[known]], gold[known]) if known.any() else None

    def predictions(self, outputs: Outputs) -> list[list[str]]:
        """Return the tags of each text, one per word; one without pieces (or cut off) gets O or continues an entity."""
        rules = None if self.scheme is None else Rules.of(self._labels, self.scheme)
        words, begins, scores = self._scores_of_words(outputs)
        firsts = np.searchsorted(words.numbers, begins)
        tags = [self._labels[tag] for tag in best_labels(scores, np.diff(firsts), rules).tolist()]
        found = []
        for read, (begin, end) in zip(pairwise(firsts.tolist()), pairwise(begins.tolist()), strict=True):
            own = slice(*read)
            found.append(self._fill_in(tags[own], (words.numbers[own] - begin).tolist(), end - begin))
        return found

    def word_scores(self, outputs: Outputs) -> list[Array]:
        """Return the tag scores of each text's words, ``[W, C]``; 0 for words that were not read."""
        words, begins, scores = self._scores_of_words(outputs)
        found = np.zeros((words.num_words, len(self._labels)), np.float32)
        found[words.numbers] = scores
        return [found[begin:end] for begin, end in pairwise(begins.tolist())]

    def _scores_of_words(self, outputs: Outputs) -> tuple[Alignment, Integers, Array]:
        """As `words_read`, with the scores ``[n, C]`` of the words that were read."""
        how = self.aggregation_strategy if self.aggregation_strategy in MERGES else "first"
        words, begins = words_read(outputs.features.groups())
        return words, begins, words.word_scores(self._piece_scores(outputs), how)

    def _fill_in(self, tags: list[str], places: list[int], count: int) -> list[str]:
        """Return the tags of all ``count`` words, from those of the words with pieces, numbered by ``places``."""
        if len(tags) == count:
            return tags
        if self.scheme is None:
            known = dict(zip(places, tags, strict=True))
            return [known.get(word, OUTSIDE) for word in range(count)]
        # an entity continues across a word without pieces
        entities = [
            entity._replace(first=places[entity.first], last=places[entity.last])
            for entity in find_entities(tags, self.scheme)
        ]
        return make_tags(entities, count, self.scheme)

    def signature(self, prediction: Any) -> list[str]:
        return sorted(set(prediction))

    def describe(self, prediction: Any) -> str:
        return " ".join(prediction)

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found: list[WrongAnswer | None] = []
        answers = zip(outputs.features.groups(), self.predictions(outputs), outputs.labels, strict=True)
        for group, predicted, gold in answers:
            wrong = sum(one != other for one, other in zip(predicted, gold, strict=True))
            words = group.text
            if isinstance(words, str):
                words = [words[start:stop] for start, stop in group.words.word_spans(group.pieces.offsets).tolist()]
            expected, given = (self._entities_of(words, tags) for tags in (gold, predicted))
            found.append(WrongAnswer(wrong, expected, given) if wrong else None)
        return found

    def _entities_of(self, words: Sequence[str], tags: Sequence[str]) -> str:
        """Return the entities of tagged words as text."""
        scheme = guess_scheme(self._labels) if self.scheme is None else self.scheme
        found = [f"{kind}: {' '.join(words[first : last + 1])}" for kind, first, last in find_entities(tags, scheme)]
        return " | ".join(found) or "none"


class WordTags(TokenClassification):
    """As `TokenClassification`, but an answer is the tag of each word of a list of words."""

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        given = TokenClassification.from_inference_task(task)
        return cls(**{field.name: getattr(given, field.name) for field in fields(given)})

    def decode(self, outputs: Outputs) -> list[Any]:
        return self.predictions(outputs)
