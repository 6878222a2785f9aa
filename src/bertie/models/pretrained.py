"""The base class of all models: entry and exit of batches, weights, embeddings, loading and saving."""

import inspect
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from bertie.capture import is_tracing
from bertie.checkpoints.parameters import architecture_of
from bertie.config import IGNORED, BertConfig
from bertie.errors import ConfigError, InputError, InputTypeError, nearest
from bertie.layers.encoder import Checkpointing
from bertie.layers.heads import BertLMPredictionHead
from bertie.layers.losses import TokenLabels, require_class_numbers
from bertie.layers.rectangle import Batch, Given, Rectangle, Unpadded
from bertie.models.hooks import has_observers
from bertie.models.initialization import initialize
from bertie.models.loading import Loading, check_attention
from bertie.models.model_inputs import Limits, pack_inputs, pad_outputs, rectangle
from bertie.models.model_state import fill_in_tied, finish_loading, leave_out_tied, tied_pairs
from bertie.models.resizing import fit_decoder_bias, resize_token_embeddings
from bertie.models.saving import save_pretrained, saved_config
from bertie.openmp import make_fork_safe
from bertie.outputs import ModelOutput
from bertie.packing import Packed

# What transformers' flattening collator passes with a batch of concatenated texts.
_FLATTENED = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")


class BertPreTrainedModel(Loading, nn.Module):
    """The base class of all public models. Subclasses create their parts in ``__init__`` and compute in ``forward``."""

    config_class: ClassVar[type[BertConfig]] = BertConfig
    base_model_prefix: ClassVar[str] = "bert"
    main_input_name: ClassVar[str] = "input_ids"
    supports_gradient_checkpointing: ClassVar[bool] = True
    accepts_loss_kwargs: ClassVar[bool] = False
    # alias → the parameter it shares its memory with
    _tied_weights_keys: ClassVar[dict[str, str]] = {}
    _keys_to_ignore_on_save: ClassVar[list[str] | None] = None
    _forward_arguments: ClassVar[frozenset[str]] = frozenset()
    _takes_any_argument: ClassVar[bool] = False
    _no_split_modules: ClassVar[list[str]] = ["BertEmbeddings", "BertLayer"]

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        kind = self.config_class
        if not isinstance(config, kind) or type(config).model_type != kind.model_type:
            raise InputTypeError(
                f"{type(self).__name__} is made from a bertie.{kind.__name__}, not {type(config).__name__}; "
                f"convert another library's config with {kind.__name__}.from_dict(config.to_dict())."
            )
        make_fork_safe()
        config.validate()  # assignments only checked single fields
        if why := config.why_not(architecture_of(type(self))):
            raise ConfigError(f"{type(self).__name__} cannot be made from this config: {why}")
        self.config = config
        self.name_or_path = config.name_or_path
        self._require_grads_hook: RemovableHandle | None = None
        self.register_state_dict_post_hook(leave_out_tied)
        self.register_load_state_dict_pre_hook(fill_in_tied)
        self.register_load_state_dict_post_hook(finish_loading)

    def __init_subclass__(cls) -> None:
        parameters = inspect.signature(cls.forward).parameters
        cls._forward_arguments = frozenset(parameters)
        # a user-defined model may pass **kwargs on to the encoder, which then checks the names
        cls._takes_any_argument = any(each.kind == each.VAR_KEYWORD for each in parameters.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        unknown = [] if self._takes_any_argument else [name for name in kwargs if name not in self._forward_arguments]
        for name in unknown:
            if kwargs.pop(name) is None:  # programs pass empty arguments of other models
                continue
            hint = nearest(name, self._forward_arguments)
            if name in _FLATTENED:
                hint = " It marks a flattened batch: pass a bertie.Packed as input_ids instead."
            raise InputTypeError(f"{type(self).__name__} takes no argument {name!r}.{hint}")
        if args and isinstance(args[0], Rectangle):
            kwargs = {**args[0].arguments, **kwargs}
            args = (kwargs.pop("input_ids"),)
        return super().__call__(*args, **kwargs)

    # Entry and exit of batches: nowhere else are they packed or padded.

    def pack_inputs(
        self,
        input_ids: Tensor | Packed | None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_length: int = 0,
    ) -> Packed:
        """Return the checked batch without padding; a ``Packed`` is returned unchanged."""
        given = Given(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        return pack_inputs(Limits.of(self), given, past_length)

    def batch(
        self,
        input_ids: Tensor | Packed | None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_length: int = 0,
        whole: bool = False,
    ) -> Batch:
        """Return the checked batch, without padding where nobody can see it, for code that handles both forms.

        Padding is kept if a 3-D or 4-D mask, a captured graph or an observer needs it, or if ``whole``.
        """
        given = Given(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        packed = self.pack_inputs(*given, past_length)
        came_packed = isinstance(input_ids, Packed)
        if isinstance(packed, Unpadded) and not whole:
            return packed  # the task model has already checked
        if whole or packed.attention_mask is not None or (not came_packed if is_tracing() else has_observers(self)):
            return rectangle(Limits.of(self), packed, given)
        return packed if came_packed else Unpadded.of(packed)

    def pad_outputs(
        self,
        output: ModelOutput,
        entered: Tensor | Packed | None,
        batch: Batch,
        return_dict: bool | None,
        **finished: Tensor | tuple[Tensor, ...] | None,
    ) -> Any:
        """Return ``output`` in the form in which the batch ``entered``: padded, or packed for a ``Packed``.

        ``finished`` members already have their final form.
        """
        output = pad_outputs(output, batch, isinstance(entered, Packed))
        if finished:
            output = type(output)(**output, **finished)
        return self.as_requested(output, return_dict)

    def as_requested(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """Return ``output``, whose members have their final form, unchanged or as a tuple."""
        as_mapping = self.config.return_dict if return_dict is None else return_dict
        return output if as_mapping else output.to_tuple()

    def token_labels(
        self, labels: Tensor | None, entered: Tensor | Packed | None, batch: Batch, num_classes: int
    ) -> TokenLabels | None:
        """Return checked labels of the tokens, from ``[B, S]`` or, with a ``Packed``, ``[T]``.

        A label on a masked token is dropped with it (decision 3).
        """
        if labels is None:
            return None
        require_class_numbers(labels)
        shape = (entered.num_tokens,) if isinstance(entered, Packed) else batch.shape
        if labels.shape != shape:
            raise InputError(f"labels has shape {tuple(labels.shape)}, but this batch needs {tuple(shape)}.")
        values = labels
        if isinstance(entered, Packed) and isinstance(batch, Rectangle):
            values = entered.pad(labels, fill=IGNORED).flatten()
        elif not isinstance(entered, Packed):
            values = batch.unpad(labels, fill=IGNORED)
        return TokenLabels.of(values, labels, num_classes)

    # Weights.

    def post_init(self) -> None:
        """Initialise new weights and tie parameters; the last call in a subclass's ``__init__``."""
        self.init_weights()
        if self.config.gradient_checkpointing and hasattr(self.base_model, "encoder"):
            self._checkpointing.enable(None, every_n_layers=1, offload=False)

    def init_weights(self) -> None:
        """Initialise weights that were neither loaded nor initialised yet, and tie parameters.

        New weights are normal with ``initializer_range``, biases 0, LayerNorm 1 (BERT, appendix A.2).
        """
        initialize(self)
        self.tie_weights()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding | _ConvNd):
            module.weight.normal_(mean=0.0, std=self.config.initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
        if isinstance(module, nn.Linear | nn.LayerNorm | _ConvNd | BertLMPredictionHead) and module.bias is not None:
            module.bias.zero_()

    def tied_weights(self) -> dict[str, str]:
        """Return alias → source of the tied parameters; empty if the config unties them."""
        return self._tied_weights_keys if self.config.tie_word_embeddings else {}

    def tie_weights(self) -> None:
        """Tie the decoder's weight to the word embeddings, and the decoder's two biases to each other."""
        for pair in tied_pairs(self):
            self._tie(pair.alias, pair.source_parameter)
        fit_decoder_bias(self)

    def _tie(self, alias: str, source: nn.Parameter) -> None:
        owner, name = alias.rsplit(".", 1)
        setattr(self.get_submodule(owner), name, source)

    @property
    def base_model(self) -> nn.Module:
        """The bare encoder inside a task model; a bare encoder is its own."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count the parameters, tied ones once."""
        tables = [module for module in self.modules() if isinstance(module, nn.Embedding)]
        left_out = {id(table.weight) for table in tables} if exclude_embeddings else set()
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if id(parameter) not in left_out and (parameter.requires_grad or not only_trainable)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of the parameters, tied ones once, and of the buffers."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.nbytes for tensor in tensors)

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class has ``generate()``, as decoders do."""
        return hasattr(cls, "generate")

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Change the attention of all parts: ``"eager"`` is dense, the other names leave the choice to bertie.

        Raises:
            InputError: there is no such implementation.
        """
        self.config._attn_implementation = check_attention(attn_implementation)

    # Saving.

    save_pretrained = save_pretrained
    config_to_save = saved_config

    # Embeddings.

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings."""
        return cast(Any, self.base_model).embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings, and set the config's ``vocab_size`` to their size."""
        cast(Any, self.base_model).embeddings.word_embeddings = value
        if isinstance(value, nn.Embedding):
            self.config.vocab_size = value.num_embeddings

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the decoder of a language-modelling head, or None in a model without one."""
        predictions = getattr(getattr(self, "cls", None), "predictions", None)
        return None if predictions is None else predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the decoder of a language-modelling head, with its bias."""
        predictions = cast(Any, self).cls.predictions
        predictions.decoder, predictions.bias = new_embeddings, new_embeddings.bias

    resize_token_embeddings = resize_token_embeddings

    def enable_input_require_grads(self) -> None:
        """Make the embeddings' output require a gradient, so that adapters on a frozen model can be trained."""
        self.disable_input_require_grads()  # so that calling it twice adds only one hook
        self._require_grads_hook = self.get_input_embeddings().register_forward_hook(_require_grads)

    def disable_input_require_grads(self) -> None:
        """Undo ``enable_input_require_grads``."""
        if self._require_grads_hook is not None:
            self._require_grads_hook.remove()
            self._require_grads_hook = None

    # Activation checkpointing.

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Store only every ``every_n_layers``-th block's input for the backward pass, and recompute the rest."""
        self._checkpointing.enable(activation_checkpointing_kwargs, every_n_layers, offload)
        self.enable_input_require_grads()

    def activation_checkpointing_disable(self) -> None:
        """Undo ``activation_checkpointing_enable``."""
        self._checkpointing.disable()
        self.disable_input_require_grads()

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The older name of ``activation_checkpointing_enable``."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, every_n_layers, offload)

    def gradient_checkpointing_disable(self) -> None:
        """The older name of ``activation_checkpointing_disable``."""
        self.activation_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        return self._checkpointing.every_n_layers > 0

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.is_activation_checkpointing

    @property
    def _checkpointing(self) -> Checkpointing:
        return cast(Any, self.base_model).encoder.checkpointing


def _require_grads(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    output.requires_grad_(True)
