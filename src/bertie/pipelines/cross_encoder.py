"""``bertie.CrossEncoder``: sentence-transformers' class of this name, which scores pairs of texts."""

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from bertie.config import CONFIG_NAME
from bertie.errors import InputError
from bertie.extras import need
from bertie.hub import resolve
from bertie.pipelines.drop_in import DropIn
from bertie.pipelines.factory import Name, pipeline
from bertie.pipelines.running import as_list
from bertie.tasks.arrays import Array, softmax
from bertie.tasks.features import Outputs
from bertie.tasks.reranking import stated_activation
from bertie.tasks.sentence_transformers_config import SETTINGS, read_activation
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.text_encoder import check_count, is_pair
from bertie.tasks.vector_layers import ACTIVATIONS
from bertie.tokenization.arguments import one_of


@dataclass(frozen=True, kw_only=True)
class PairLogits(TextClassification):
    """An answer is a pair's row of logits, float32 ``[C]``."""

    pair = "(text, text)"

    def decode(self, outputs: Outputs) -> list[Array]:
        return list(np.asarray(outputs.values, np.float32))


class CrossEncoder(DropIn):
    """Pairs of texts in, scores out: the same numbers as of sentence-transformers' class, on the engine where it runs.

    PyTorch is needed only for tensors, GPUs, functions of PyTorch and what the engine does not compute.

    Args:
        model_name_or_path: a folder, or a name in the hub.
        num_labels: what the model has; None: whatever it has.
        max_length: tokens read of a pair; None: the model's limit.
        activation_fn: what turns logits into scores: the name of a class of ``torch.nn``, such as "Sigmoid" or
            "Identity", or a function of tensors; None: what the model's files say, else the sigmoid for one label and
            nothing for several.
        device, cache_folder, revision, token, local_files_only, trust_remote_code, model_kwargs: as for
            `bertie.SentenceTransformer`.

    Raises:
        InputTypeError: an argument of sentence-transformers' that bertie does not have.
        InputError, CheckpointError: as by `bertie.pipeline`; or another number of labels than the model's.
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: str | Callable[[Any], Any] | None = None,
        device: Any = None,
        cache_folder: Name | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool | None = None,
        model_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        self.refuse_others(others)
        files: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_folder}
        files |= {"local_files_only": local_files_only}
        named = read_activation(resolve(model_name_or_path, files=[CONFIG_NAME, SETTINGS], **files))
        self._pipeline = pipeline(
            "text-classification",
            model_name_or_path,
            device=device,
            trust_remote_code=trust_remote_code or None,
            model_kwargs=model_kwargs,
            max_length=max_length,
            **files,
        )
        task, config = self._pipeline.codec, self._pipeline.model.config
        self._pipeline.codec = PairLogits(**{field.name: getattr(task, field.name) for field in fields(task)})
        self.num_labels: int = config.num_labels
        if num_labels not in (None, self.num_labels):
            raise InputError(f"num_labels is {num_labels}, and the model has {self.num_labels}; leave it out.")
        usual = stated_activation(named, config) or ("Sigmoid" if self.num_labels == 1 else "Identity")
        self.activation_fn = usual if activation_fn is None else activation_fn
        _activation(self.activation_fn)  # refuses one that there is not

    def predict(
        self,
        inputs: Any = None,
        *,
        sentences: Any = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: str | Callable[[Any], Any] | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        **others: Any,
    ) -> Any:  # an array, a tensor or a list of tensors, as is asked for
        """Return the score of each pair.

        Args:
            inputs: one pair of texts, or several.
            sentences: the older name of ``inputs``.
            batch_size: the most pairs in a batch; None: batches are made by their tokens.
            show_progress_bar: None: on a terminal and for long work only.
            activation_fn: as when the model is made, for this call.
            apply_softmax: whether the scores of several labels become probabilities.
            convert_to_numpy: False gives a list of tensors.
            convert_to_tensor: True gives one tensor.
            device: where the model is; it does not move.

        Returns:
            float32 ``[N]``, of a model with several labels ``[N, C]``; of one pair a number, or ``[C]``.

        Raises:
            InputTypeError: an argument that bertie does not have, or an input that is no pair.
            InputError: another device than the model's, or an activation that there is not.
        """
        self.refuse_others(others)
        self.check_device(device)
        given = sentences if inputs is None else inputs
        single = is_pair(given)
        pairs = [given] if single else as_list(given)
        score = copy(self._pipeline)  # for this call
        score.show_progress = show_progress_bar
        answered = score.answered(pairs, batch_size, {})
        logits = np.array([one.answer for one in answered], np.float32).reshape(len(pairs), self.num_labels)
        scores = _activation(self.activation_fn if activation_fn is None else activation_fn)(logits)
        scores = scores[:, 0] if self.num_labels == 1 else scores
        scores = softmax(scores) if apply_softmax and scores.ndim > 1 else scores
        return self.converted(scores[0] if single else scores, single, convert_to_numpy, convert_to_tensor)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Return ``{"corpus_id": int, "score": float}`` of each document, best first.

        Args:
            query: the question.
            documents: the passages that may answer it.
            top_k: how many to give; None gives all.
            return_documents: True adds each one's ``"text"``.
            **options: ``batch_size``, ``show_progress_bar``, ``activation_fn`` and ``device``, as for `predict`.

        Raises:
            InputError: the model has several labels, or as by `predict`.
        """
        if self.num_labels != 1:
            raise InputError(f"The model has {self.num_labels} labels, and rank needs one; call predict with pairs.")
        if top_k is not None:
            check_count("top_k", top_k)
        documents = as_list(documents)
        pairs = [(query, document) for document in documents]
        scores = self.predict(pairs, **options | {"convert_to_numpy": True, "convert_to_tensor": False}).tolist()
        found: list[dict[str, Any]] = [{"corpus_id": place, "score": score} for place, score in enumerate(scores)]
        if return_documents:
            found = [one | {"text": document} for one, document in zip(found, documents, strict=True)]
        return sorted(found, key=lambda one: -one["score"])[:top_k]

    @property
    def config(self) -> Any:
        return self._pipeline.model.config

    @property
    def max_length(self) -> int:
        """The most tokens that are read of a pair."""
        return self._pipeline.codec.limit


def _activation(given: str | Callable[[Any], Any]) -> Callable[[Array], Array]:
    """Return what turns logits into scores, of arrays."""
    if isinstance(given, str):
        name = given.rpartition(".")[2]
        one_of("activation_fn", name, ACTIVATIONS)
        return ACTIVATIONS[name]
    torch, function = need("torch", "torch", "activation_fn"), given

    def on_arrays(logits: Array) -> Array:
        with torch.inference_mode():
            return function(torch.from_numpy(logits)).float().cpu().numpy()

    return on_arrays
