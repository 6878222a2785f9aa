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
    """An answer is the logits of a pair, float32 ``[C]``."""

    pair = "(text, text)"

    def decode(self, outputs: Outputs) -> list[Array]:
        return list(np.asarray(outputs.values, np.float32))


class CrossEncoder(DropIn):
    """Pairs of texts in, scores out: the values of sentence-transformers' class, computed by the engine if possible.

    PyTorch is needed only for tensors, GPUs, PyTorch functions and models that the engine does not run.

    Args:
        model_name_or_path: a folder, or a name on the hub.
        num_labels: checked against the model's; None: not checked.
        max_length: tokens read of a pair; None: the model's limit.
        activation_fn: turns logits into scores: the name of a class of ``torch.nn``, such as "Sigmoid" or "Identity",
            or a function of tensors; None: what the model's files say, else sigmoid for one label and none for several.
        device, cache_folder, revision, token, local_files_only, trust_remote_code, model_kwargs: as for
            `bertie.SentenceTransformer`.

    Raises:
        InputTypeError: an argument of sentence-transformers that bertie does not have.
        InputError, CheckpointError: as for `bertie.pipeline`; or ``num_labels`` differs from the model's.
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
            raise InputError(f"num_labels is {num_labels}, but the model has {self.num_labels}; leave it out.")
        default = stated_activation(named, config) or ("Sigmoid" if self.num_labels == 1 else "Identity")
        self.activation_fn = default if activation_fn is None else activation_fn
        _activation(self.activation_fn)  # refuses an unknown one

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
    ) -> Any:  # an array, a tensor or a list of tensors, as requested
        """Return the score of each pair.

        Args:
            inputs: one pair of texts, or several.
            sentences: the older name of ``inputs``.
            batch_size: the most pairs in a batch; None: batches are sized by their tokens.
            show_progress_bar: None: only on a terminal and for long work.
            activation_fn: as for the constructor, for this call.
            apply_softmax: whether to apply a softmax to the scores of several labels.
            convert_to_numpy: False returns a list of tensors.
            convert_to_tensor: True returns one tensor.
            device: must be the model's own; it is not moved.

        Returns:
            float32 ``[N]``, or ``[N, C]`` with several labels; for one pair a number, or ``[C]``.

        Raises:
            InputTypeError: an argument that bertie does not have, or an input that is not a pair.
            InputError: ``device`` is not the model's, or the activation is unknown.
        """
        self.refuse_others(others)
        self.check_device(device)
        given = sentences if inputs is None else inputs
        single = is_pair(given)
        pairs = [given] if single else as_list(given)
        pipe = copy(self._pipeline)  # for this call
        pipe.show_progress = show_progress_bar
        answered = pipe.answered(pairs, batch_size, {})
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
        """Return ``{"corpus_id": int, "score": float}`` for each document, best first.

        Args:
            query: the query.
            documents: the documents to rank.
            top_k: how many to return; None returns all.
            return_documents: True adds each document's ``"text"``.
            **options: ``batch_size``, ``show_progress_bar``, ``activation_fn`` and ``device``, as for `predict`.

        Raises:
            InputError: the model has several labels, or as for `predict`.
        """
        if self.num_labels != 1:
            raise InputError(f"The model has {self.num_labels} labels, but rank needs one; call predict with pairs.")
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
        """The most tokens read of a pair."""
        return self._pipeline.codec.limit


def _activation(given: str | Callable[[Any], Any]) -> Callable[[Array], Array]:
    """Return the function from logits to scores, on arrays."""
    if isinstance(given, str):
        name = given.rpartition(".")[2]
        one_of("activation_fn", name, ACTIVATIONS)
        return ACTIVATIONS[name]
    torch, function = need("torch", "torch", "activation_fn"), given

    def on_arrays(logits: Array) -> Array:
        with torch.inference_mode():
            return function(torch.from_numpy(logits)).float().cpu().numpy()

    return on_arrays
