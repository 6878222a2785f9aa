"""``bertie.SentenceTransformer``: sentence-transformers' class of this name, on the embed pipeline."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from bertie.pipelines.drop_in import DropIn
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.factory import Name, pipeline
from bertie.pipelines.vector_similarity import pairwise_similarities, similarities
from bertie.tasks.embedding_precision import quantize_embeddings
from bertie.tasks.sentence_transformers_config import (
    DOCUMENT_PROMPTS,
    QUERY_PROMPTS,
    SIMILARITIES,
    first_prompt,
)
from bertie.tokenization.arguments import one_of


class SentenceTransformer(DropIn):
    """Sentences in, vectors out: the values of sentence-transformers' class, computed by the engine if possible.

    PyTorch is needed only for tensors, GPUs and models that the engine does not run.

    Args:
        model_name_or_path: a folder, or a name on the hub.
        device: as for `bertie.pipeline`; None: CUDA if available, else the CPU.
        prompts: name → text, in addition to those in the model's files.
        default_prompt_name: the prompt for calls that name none; None: what the model's files say.
        cache_folder, revision, token, local_files_only: which files to load from the hub, and whether to contact it.
        trust_remote_code: ignored and reported; no code from a model's folder is ever run.
        model_kwargs: more arguments of the model's ``from_pretrained``, such as ``dtype``.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; None: what the model's files say.
        truncate_dim: dimensions to keep in calls that do not say; None: what the model's files say.

    Raises:
        InputTypeError: an argument of sentence-transformers that bertie does not have.
        InputError, CheckpointError: as for `bertie.pipeline`.
    """

    _pipeline: EmbedPipeline

    def __init__(
        self,
        model_name_or_path: Name,
        *,
        device: Any = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: Name | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool | None = None,
        model_kwargs: dict[str, Any] | None = None,
        similarity_fn_name: str | None = None,
        truncate_dim: int | None = None,
        **others: Any,
    ) -> None:
        self.refuse_others(others)
        self._pipeline = pipeline(
            "embed",
            model_name_or_path,
            device=device,
            cache_dir=cache_folder,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            trust_remote_code=trust_remote_code or None,
            model_kwargs=model_kwargs,
        )
        task = self._pipeline.codec
        recipe = task.recipe
        self.prompts = {"query": "", "document": "", **recipe.prompts, **(prompts or {})}
        self.default_prompt_name = default_prompt_name or recipe.default_prompt
        if self.default_prompt_name is not None:
            one_of("default_prompt_name", self.default_prompt_name, self.prompts)
        self.similarity_fn_name = similarity_fn_name or recipe.similarity
        stated = None if recipe.truncate_dim is None else task.dimension
        self.truncate_dim = stated if truncate_dim is None else truncate_dim
        self._pipeline.codec = replace(task, recipe=replace(recipe, truncate_dim=None))

    def encode(
        self,
        inputs: Any = None,
        *,
        sentences: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        **others: Any,
    ) -> Any:  # an array, a tensor or a list of tensors, as requested
        """Return the vectors of sentences.

        Args:
            inputs: one str, or several: a list, or a column of NumPy, pandas, polars or datasets.
            sentences: the older name of ``inputs``.
            prompt_name, prompt: a prompt to put before every sentence; ``prompt`` wins.
            batch_size: the most sentences in a batch; None: batches are sized by their tokens.
            show_progress_bar: None: only on a terminal and for long work.
            precision: as for `bertie.quantize_embeddings`.
            convert_to_numpy: False returns a list of tensors.
            convert_to_tensor: True returns one tensor.
            device: must be the model's own; it is not moved.
            normalize_embeddings: True scales every vector to length 1.
            truncate_dim: dimensions to keep.

        Returns:
            float32 ``[N, D]``, or ``[D]`` for one str; in other precisions as for `bertie.quantize_embeddings`.

        Raises:
            InputTypeError: an argument that bertie does not have, or an input that is not a text.
            InputError: a value is out of range, or ``device`` is not the model's.
        """
        self.refuse_others(others)
        self.check_device(device)
        given = sentences if inputs is None else inputs
        embed = copy(self._pipeline)  # for this call
        embed.show_progress = show_progress_bar
        recipe = replace(embed.codec.recipe, prompts=self.prompts, default_prompt=self.default_prompt_name)
        embed.codec = replace(embed.codec, recipe=recipe)
        vectors = embed(
            list(given) if isinstance(given, tuple) else given,  # a tuple of two is not a pair here
            batch_size=batch_size,
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=normalize_embeddings or None,
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
        )
        vectors = vectors if precision == "float32" else quantize_embeddings(vectors, precision)
        return self.converted(vectors, isinstance(given, str), convert_to_numpy, convert_to_tensor)

    def encode_query(self, inputs: Any = None, **options: Any) -> Any:
        """As `encode`, with the prompt "query" by default."""
        return self.encode(inputs, **self._prompted(options, QUERY_PROMPTS))

    def encode_document(self, inputs: Any = None, **options: Any) -> Any:
        """As `encode`, by default with the first existing prompt of "document", "passage" and "corpus"."""
        return self.encode(inputs, **self._prompted(options, DOCUMENT_PROMPTS))

    def _prompted(self, options: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Return options with the first existing prompt of these names, unless they have one already."""
        if options.get("prompt") is not None or options.get("prompt_name") is not None:
            return options
        return options | {"prompt_name": first_prompt(self.prompts, names)}

    @property
    def similarity_fn_name(self) -> str:
        """How vectors are compared; settable."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str) -> None:
        one_of("similarity_fn_name", value, SIMILARITIES)
        self._similarity_fn_name = value

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of each first vector to each second one, ``[N, M]``; tensors give a tensor."""
        return similarities(self.similarity_fn_name, embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of each first vector to the second one at the same index, ``[N]``; of two single
        vectors, a number."""
        return pairwise_similarities(self.similarity_fn_name, embeddings1, embeddings2)

    def get_embedding_dimension(self) -> int:
        """Return D, the dimension of a vector."""
        return min(self._pipeline.dimension, self.truncate_dim or self._pipeline.dimension)

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def max_seq_length(self) -> int:
        """The most tokens read of a sentence; settable."""
        return self._pipeline.codec.limit

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self._pipeline.codec = self._pipeline.codec.with_options(max_length=value)

    def tokenize(self, texts: Sequence[str]) -> Any:
        """Tokenize texts into padded tensors, truncated to `max_seq_length`."""
        return self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_seq_length, return_tensors="pt"
        )
