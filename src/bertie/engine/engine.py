"""Engine: a BERT for inference on a CPU, made once from a checkpoint or a model and never changed."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints import write_checkpoint
from bertie.checkpoints.consistent_read import read_consistently
from bertie.checkpoints.folder import Place, open_weights
from bertie.checkpoints.names import canonical, in_names_of
from bertie.checkpoints.parameters import CLASSES, PAIR, architecture_of, parameters_of
from bertie.checkpoints.quantization import check_declaration
from bertie.config import BertConfig
from bertie.encoder_decoder_config import EncoderDecoderConfig
from bertie.engine.activations import Array
from bertie.engine.batch import Batch, Rows
from bertie.engine.blocks import Blocks
from bertie.engine.embeddings import Embeddings
from bertie.engine.heads import MaskedLMHead, Pooler
from bertie.engine.linear import Linear
from bertie.engine.weights import Weights, checkpoint_weights, model_weights
from bertie.errors import ConfigError, InputError, InputTypeError
from bertie.generation.generation_config import GenerationConfig
from bertie.kernels import library
from bertie.threads import available_threads

if TYPE_CHECKING:
    from bertie.engine.text_decoder import TextDecoder

# architectures that generate text: a decoder, and an encoder-decoder
GENERATIVE = ("BertLMHeadModel", PAIR)
# a table of word vectors, without blocks
STATIC = "StaticEmbedding"
ARCHITECTURES = tuple(name for name in CLASSES if name not in GENERATIVE)
_ALL = (*ARCHITECTURES, *GENERATIVE)
NO_DECODER = "its config says is_decoder=false: its tokens attend to those after them, so it cannot continue a text"


class Engine:
    """Computes packed rows without PyTorch, with weights laid out once for this processor.

    It is made by `open` or `of` and never changes, so threads may share one. A row's output is bitwise the same
    whatever else is in the batch and however many threads compute. Letters: R rows, T tokens in all, D hidden,
    C classes, V words, M selected tokens.

    Attributes:
        config: the model's.
        name_or_path: where the model and its tokenizer are from; empty if it was made in memory.
        architecture: the name of the model's class, which decides its heads.
        device_type: "cpu".
        threads: the number of cores that a call uses.
        dtype: "float32", the dtype of hidden states, in a quantized model too.
        weights: the checkpoint's arrays; None if it was made from a model.
    """

    device_type = "cpu"
    dtype = "float32"

    def __init__(self, weights: Weights, config: BertConfig, architecture: str) -> None:
        why = why_not(config, architecture)
        if why:
            raise ConfigError(f"The engine cannot compute this model: {why}.")
        self.config, self.architecture = config, architecture
        self._count_16_bits = sum(bits == 16 for bits in weights.input_bits.values())  # int8 layers with 16-bit inputs
        self._encoder_config = config.get_text_config(encoder=True)
        encoder, decoder = map(weights.part, ("encoder", "decoder")) if architecture == PAIR else (weights, weights)
        has_encoder, is_generative = architecture != "BertLMHeadModel", architecture in GENERATIVE
        self._embeddings = Embeddings.of(encoder, self._encoder_config) if has_encoder else None
        self._blocks = Blocks(encoder, self._encoder_config) if has_encoder else None
        self._decoder: TextDecoder | None = None
        if is_generative:
            # imported lazily: the generation loops would make up a sixth of the engine's import time
            from bertie.engine import text_decoder

            self._decoder = text_decoder.TextDecoder.of(decoder, config.get_text_config(decoder=True))
        self._projection = weights.linear("enc_to_dec_proj") if "enc_to_dec_proj.weight" in weights.stored else None
        self.generation_config = GenerationConfig.from_model_config(config)
        names = parameters_of(architecture, config).shapes
        has_pooler = "bert.pooler.dense.weight" in weights.stored
        self._pooler = weights.lazily(partial(Pooler.of, config=config)) if has_pooler else None
        if self._pooler is not None and architecture != "BertModel":  # a bare model's is rarely used
            self._pooler()
        has_words = not is_generative and "cls.predictions.transform.dense.weight" in names
        self._masked_lm = MaskedLMHead.of(weights, config) if has_words else None
        self._heads: dict[str, Linear] = {
            name: weights.linear(name)
            for name in ("classifier", "qa_outputs", "cls.seq_relationship")
            if f"{name}.weight" in names
        }
        self.threads = available_threads()
        self.name_or_path = ""
        self._reopen: Callable[[], Engine] | None = None
        self.weights: Weights | None = None

    @classmethod
    def open(
        cls,
        name_or_path: str | os.PathLike[str],
        architecture: str | None = None,
        *,
        config: BertConfig | None = None,
        variant: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        allow_nan: bool = False,
    ) -> "Engine":
        """Return the engine of a model's folder, or of its name on the hub.

        Args:
            name_or_path: where config.json and the weights are; half-precision weights are widened to float32.
            architecture: the name of the model's class, such as "BertForSequenceClassification"; None: the first of the
                config's ``architectures`` that does not generate text. "StaticEmbedding": a table of word vectors,
                without blocks.
            config: replaces the folder's.
            variant: ``"fp16"`` reads model.fp16.safetensors.
            revision, token, cache_dir, local_files_only, force_download, subfolder: where to find the files on the hub,
                as in `from_pretrained`.
            allow_nan: accept weights that are NaN or infinite.

        Raises:
            CheckpointError: the files are missing, damaged or unsafe, do not fit the config, or lack the head.
            ConfigError: the config does not describe a BERT, or describes one that the engine does not compute.
        """
        place = Place(os.fspath(name_or_path), revision, token, cache_dir, local_files_only, force_download, subfolder)
        if architecture == STATIC:
            from bertie.engine.static_embedding import StaticEmbedding

            return StaticEmbedding.open_table(name_or_path, **place.arguments)

        def load() -> Engine:
            kind = EncoderDecoderConfig if architecture == PAIR else BertConfig
            if config is None:
                own = kind.from_pretrained(place.name_or_path, **place.arguments)
            else:
                own = kind.from_dict(config.to_dict())  # a copy, since the number of classes may be corrected
            wanted = architecture or next(
                (name for name in own.architectures or () if name in ARCHITECTURES), "BertModel"
            )
            if why := why_not(own, wanted):
                raise ConfigError(f"The engine cannot compute {place.name_or_path!r}: {why}.")
            check_declaration(own.quantization_config, place.name_or_path)
            checkpoint = open_weights(place, variant)
            weights = checkpoint_weights(checkpoint, own, wanted, allow_nan)
            engine = cls(weights, own, wanted)
            engine.weights = weights
            if wanted in GENERATIVE:
                found = GenerationConfig.of_folder(checkpoint.path.parent)
                engine.generation_config = found or engine.generation_config
            return engine

        made = load() if place.folder is None else read_consistently(place.folder, load)
        made.name_or_path = place.name_or_path
        # absolute, for processes with another working directory
        source = name_or_path if place.folder is None else os.path.abspath(name_or_path)
        # a pickle must not hold the token, and workers need not download again
        files = {name: value for name, value in place.arguments.items() if name not in ("token", "force_download")}
        made._reopen = partial(
            cls.open, source, made.architecture, config=config, variant=variant, allow_nan=allow_nan, **files
        )
        return made

    @classmethod
    def of(cls, model: Any) -> "Engine":
        """Return the engine of a bertie model with its current weights; later changes to the model do not affect it.

        Raises:
            ConfigError: the engine does not compute such a model.
            InputTypeError: it is not one of bertie's models.
        """
        architecture = architecture_of(type(model))
        if architecture not in _ALL:
            raise InputTypeError(f"model is a {type(model).__name__}; the engine computes {', '.join(_ALL)}.")
        config = type(model.config).from_dict(model.config.to_dict())
        made = cls(model_weights(model, config, architecture), config, architecture)
        if architecture in GENERATIVE:
            made.generation_config = GenerationConfig.of(model.generation_config)
        made.name_or_path = model.name_or_path
        return made

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors (float32, or int8 as quantized) of the architecture into a folder.

        Raises:
            CheckpointError: the folder cannot be made or written.
            InputTypeError: the engine was made from a model, and has no checkpoint's weights.
        """
        if self.weights is None:
            raise InputTypeError("An engine made from a model cannot be saved; save the model.")
        tensors = dict(self.stored_arrays())
        config = copy(self.config)
        config.architectures, config.dtype = [self.architecture], self.dtype
        tensors = in_names_of(config.family, tensors, self.architecture)
        write_checkpoint(save_directory, tensors, config.to_json_string())

    def stored_arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the weights by the names in the architecture's own files; none if the engine was made from a model."""
        if self.weights is not None:
            for name in self.weights.names:
                if (array := self.weights.read(canonical(name) or name)) is not None:
                    yield name, array

    # outputs

    def hidden_states(self, rows: Rows) -> Array:
        """Return the last hidden states ``[T, D]``."""
        blocks, x, batch = self._embedded(rows)
        return blocks(x, batch, self.threads)

    def first_tokens(self, rows: Rows) -> Array:
        """Return the last hidden state of each row's first token ``[R, D]``."""
        blocks, x, batch = self._embedded(rows)
        return blocks.at_places(x, batch, self.threads, batch.firsts)

    def pooled(self, rows: Rows) -> Array:
        """Return the pooled vectors ``[R, D]``.

        Raises:
            CheckpointError: a bare model's pooler is not finite.
            InputTypeError: the architecture has no pooler.
        """
        if self._pooler is None:
            self._refuse("pooler")
        return self._pooler()(self.first_tokens(rows), self.threads)

    def logits(self, rows: Rows) -> Array:
        """Return the logits of the head.

        They are ``[R, C]`` for sequence classification, ``[R, 1]`` for multiple choice, ``[T, C]`` for token
        classification and ``[T, 2]`` (start and end) for question answering.

        Raises:
            InputTypeError: the architecture has none of these heads.
        """
        head = self._heads.get("classifier") or self._heads.get("qa_outputs")
        if head is None:
            self._refuse("classifier")
        of_tokens = self.architecture in ("BertForTokenClassification", "BertForQuestionAnswering")
        return head(self.hidden_states(rows) if of_tokens else self.pooled(rows), threads=self.threads)

    def masked_lm(self, rows: Rows, places: NDArray[np.int64]) -> Array:
        """Return the logits ``[M, V]`` for the tokens at ``places``, ascending indices ``[M]`` into the T tokens.

        Raises:
            InputTypeError: the architecture has no masked-LM head.
        """
        if self._masked_lm is None:
            self._refuse("masked-LM head")
        blocks, x, batch = self._embedded(rows)
        return self._masked_lm(blocks.at_places(x, batch, self.threads, places), self.threads)

    def next_sentence(self, rows: Rows) -> Array:
        """Return the logits ``[R, 2]``; column 0 stands for "B follows A".

        Raises:
            InputTypeError: the architecture has no next-sentence head.
        """
        head = self._heads.get("cls.seq_relationship")
        if head is None:
            self._refuse("next-sentence head")
        return head(self.pooled(rows), threads=self.threads)

    def pretraining(self, rows: Rows, places: NDArray[np.int64]) -> dict[str, Array]:
        """Return the results of `hidden_states`, `masked_lm` and `next_sentence` by name, from one forward pass.

        A model without a next-sentence head leaves the last out.

        Raises:
            InputTypeError: the architecture has no masked-LM head.
        """
        if self._masked_lm is None:
            self._refuse("masked-LM head")
        hidden = self.hidden_states(rows)
        found = {"hidden_states": hidden, "masked_lm": self._masked_lm(hidden[places], self.threads)}
        if self._pooler is not None and (follows := self._heads.get("cls.seq_relationship")) is not None:
            pooled = self._pooler()(hidden[np.cumsum([0, *rows.lengths[:-1]])], self.threads)
            found["next_sentence"] = follows(pooled, threads=self.threads)
        return found

    def layers(self, rows: Rows) -> Iterator[Array]:
        """Yield the hidden states ``[T, D]`` after the embeddings and after each block."""
        blocks, x, batch = self._embedded(rows)
        return blocks.each(x, batch, self.threads)

    def attention_weights(self, rows: Rows, layer: int) -> Iterator[Array]:
        """Yield the attention weights of each row, ``[H, S, S]``; the last axis sums to 1.

        ``layer`` counts from 0.
        """
        blocks, x, batch = self._embedded(rows)
        return blocks.attention_weights(x, batch, self.threads, layer)

    def generate(self, rows: Rows, options: Mapping[str, Any] | None = None) -> NDArray[np.int64]:
        """Return the continuation of rows, or what an encoder-decoder generates from them: ids ``[R * N, S]``, N each.

        Args:
            rows: prompts, which the result begins with, left-padded; or, for an encoder-decoder, sources.
            options: fields of a `bertie.GenerationConfig`; those left out are taken from ``generation_config``. Also
                ``streamer``, ``logits_processor``, ``stopping_criteria`` and ``prefix_allowed_tokens_fn`` as in
                `bertie.models.generating.generate`, but with NumPy arrays; and ``seed``, for sampling.

        Raises:
            ConfigError, InputError: impossible lengths, or a missing token.
            BertieError: scores are NaN, or exclude every token.
            InputTypeError: the architecture does not generate text.
        """
        if self._decoder is None:
            self._refuse("decoder")
        from bertie.engine.text_decoder import CALL_OPTIONS, first_tokens, write

        fields = dict(options or {})
        arguments = {name: fields.pop(name) for name in CALL_OPTIONS if name in fields}
        config = GenerationConfig().settled(self.generation_config, **fields)
        if self._blocks is None:
            return write(self._decoder, rows, config, self.threads, **arguments)
        blocks, x, batch = self._embedded(rows)
        states = blocks(x, batch, self.threads)
        states = states if self._projection is None else self._projection(states, threads=self.threads)
        arguments["sources"] = self._decoder.read(states, batch.cu_seqlens, self.threads)
        if len(set(rows.lengths)) == 1:
            arguments["source_ids"] = batch.ids.reshape(len(rows.lengths), -1)
        return write(self._decoder, first_tokens(config, len(rows.lengths)), config, self.threads, **arguments)

    def _embedded(self, rows: Rows) -> tuple[Blocks, Array, Batch]:
        if self._blocks is None or self._embeddings is None:
            self._refuse("encoder")
        batch = Batch.of(rows, self._encoder_config)
        return self._blocks, self._embeddings(batch, self.threads), batch

    # settings

    def with_threads(self, threads: int) -> Self:
        """Return an engine with the same weights whose calls use ``threads`` cores.

        Raises:
            InputError: below 1.
        """
        if threads < 1:
            raise InputError(f"threads is {threads}; allowed are 1 and more.")
        other = object.__new__(type(self))
        vars(other).update(vars(self), threads=threads)
        return other

    def inference(self) -> nullcontext[None]:
        """Return a context manager for inference; the engine needs none, so it does nothing."""
        return nullcontext()

    def explain(self) -> str:
        """Return how the model is computed: which kernels, or why none."""
        best = library.best()
        kernels = f"{best} kernels" if best else f"NumPy's products, because {library.why_no_kernels()}"
        packed = self._blocks is not None and self._blocks.packed
        blocks = "all blocks in one call" if packed else "one block after the other"
        precise = f", inputs of 16 bits in {self._count_16_bits} int8 layers" if self._count_16_bits else ""
        model = self.architecture if self._reopen else f"a snapshot of a {self.architecture}"
        return f"{model} on the engine: {kernels}, {blocks}{precise}, threads: {self.threads}"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopen is None:
            raise InputTypeError(
                "An engine made from a model cannot be pickled or copied; save the model and open its folder."
            )
        return self._reopen, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it is immutable

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"An Engine has no {name!r}: it is not a PyTorch model; bertie's AutoModel classes load one from the "
                "same folder, and bertie.pipeline takes it."
            )

    def _refuse(self, head: str) -> NoReturn:
        raise InputTypeError(f"{self.architecture} has no {head}; open the checkpoint with the architecture it needs.")


def why_not(config: BertConfig, architecture: str) -> str:
    """Return why the engine cannot compute such a model, or an empty string."""
    if architecture not in _ALL:
        return f"its class is {architecture}, and the engine computes {', '.join(_ALL)}"
    if architecture == PAIR:
        return _why_no_pair(config)
    if why := config.why_not(architecture):
        return why
    if architecture == "BertLMHeadModel":
        if not config.is_decoder:
            return NO_DECODER
        if config.add_cross_attention:
            return "its cross-attention needs an encoder's hidden states; BertLMHeadModel.generate takes them"
    elif config.is_decoder or config.add_cross_attention:
        return f"it is a decoder, not a {architecture}"
    return _why_no_blocks(config)


def _why_no_pair(config: Any) -> str:
    if config.tie_encoder_decoder:
        return "its encoder and decoder share weights (tie_encoder_decoder), which only the PyTorch model supports"
    return _why_no_blocks(config.encoder) or _why_no_blocks(config.decoder)


def _why_no_blocks(config: BertConfig) -> str:
    if not isinstance(config.hidden_act, str):
        return "its hidden_act is a custom function"
    if config.is_decoder and config.position_embedding_type != "absolute":
        return "it is a decoder with relative positions, which only the PyTorch model supports"
    return ""
