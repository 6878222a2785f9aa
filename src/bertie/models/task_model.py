"""A PyTorch model behind the tasks' interface: features in, tensors out, with gradients unless in inference."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from bertie.batching import cores_to_divide
from bertie.config import BertConfig
from bertie.engine.batch import positions_of
from bertie.layers.heads import BertOnlyMLMHead, BertOnlyNSPHead
from bertie.models.pretrained import BertPreTrainedModel
from bertie.packing import Packed
from bertie.tasks.arrays import Integers
from bertie.tasks.features import Features
from bertie.tasks.tensors import on_device_of


@dataclass(frozen=True)
class TaskModel:
    """A `bertie.tasks.model.Model` of a module, which may be wrapped (LoRA) and may be training."""

    module: Any

    @property
    def config(self) -> BertConfig:
        return self.module.config

    @property
    def device(self) -> torch.device:
        """The device of the module's parameters."""
        return next(self.module.parameters()).device

    @property
    def device_type(self) -> str:
        return self.device.type

    @property
    def dtype(self) -> str:
        return str(self.module.dtype).removeprefix("torch.")

    @property
    def threads(self) -> int:
        return cores_to_divide()

    def packed(self, features: Features, for_decoder: bool = False) -> Packed:
        """Return the rows as one packed batch on the module's device, for an encoder-decoder's encoder or decoder."""
        config = self.config.get_text_config(decoder=for_decoder, encoder=not for_decoder)
        types = features.types if config.type_vocab_size else None
        positions = None
        if config.family.skips_padding and (features.ids == config.pad_token_id).any():
            positions = positions_of(features.ids, np.asarray(features.lengths), config)
        return Packed.from_flat(features.ids, features.lengths, types, positions, device=self.device)

    def hidden_states(self, features: Features) -> Tensor:
        return self._encoder(self.packed(features), return_dict=True).last_hidden_state

    def first_tokens(self, features: Features) -> Tensor:
        packed, encoder = self.packed(features), self._encoder
        if hasattr(encoder, "first_tokens"):
            return encoder.first_tokens(packed)
        return packed.first(encoder(packed, return_dict=True).last_hidden_state)

    def logits(self, features: Features) -> Tensor:
        more = {"num_choices": 1} if self._takes_choices else {}
        output = self.module(self.packed(features), return_dict=True, **more)
        if "start_logits" in output:
            return torch.stack((output.start_logits, output.end_logits), dim=-1)
        return output.logits

    def masked_lm(self, features: Features, places: Integers) -> Tensor:
        hidden, head = self.hidden_states(features), self.module.cls
        chosen = hidden.index_select(0, on_device_of(hidden, places))
        # of BertForPreTraining's two heads only this one is used
        return (head if isinstance(head, BertOnlyMLMHead) else head.predictions)(chosen)

    def next_sentence(self, features: Features) -> Tensor:
        pooled = self.module.bert(self.packed(features), return_dict=True).pooler_output
        head = self.module.cls
        return (head if isinstance(head, BertOnlyNSPHead) else head.seq_relationship)(pooled)

    def pretraining(self, features: Features, places: Integers) -> dict[str, Tensor]:
        outputs, head = self._encoder(self.packed(features), return_dict=True), self.module.cls
        hidden = outputs.last_hidden_state
        chosen = hidden.index_select(0, on_device_of(hidden, places))
        found = {"hidden_states": hidden, "masked_lm": head.predictions(chosen)}
        if hasattr(head, "seq_relationship"):
            found["next_sentence"] = head.seq_relationship(outputs.pooler_output)
        return found

    @property
    def generation_config(self) -> Any:
        return self.module.generation_config

    def generate(self, rows: Features, options: Mapping[str, Any]) -> Integers:
        given = dict(options)
        if (seed := given.pop("seed", None)) is not None:
            given["generator"] = torch.Generator(self.device).manual_seed(seed)
        return self.module.generate(self.packed(rows), **given).cpu().numpy()

    def target_logits(self, sources: Features, targets: Features) -> Tensor:
        read, written = self.packed(sources), self.packed(targets, for_decoder=True)
        return self.module(read, decoder_input_ids=written, use_cache=False, return_dict=True).logits

    def layers(self, features: Features) -> Sequence[Tensor]:
        return self._encoder(self.packed(features), output_hidden_states=True, return_dict=True).hidden_states

    def with_threads(self, _threads: int, /) -> Self:
        return self

    def inference(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    @property
    def _encoder(self) -> Any:
        return getattr(self.module, "bert", self.module)

    @cached_property
    def _takes_choices(self) -> bool:
        """Whether the module treats rows as choices of one input unless ``num_choices`` is given."""
        inner = next((part for part in self.module.modules() if isinstance(part, BertPreTrainedModel)), self.module)
        return "num_choices" in inspect.signature(inner.forward).parameters
