"""``bertie.optimize``: the engine's outputs equal the model's, and models it cannot replace are refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import bertie
from bertie import BertConfig, ConfigError, InputError, InputTypeError
from bertie.engine import Engine
from bertie.engine.engine import ARCHITECTURES

SIZES = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "initializer_range": 0.3, "num_labels": 3,
}  # fmt: skip


class Rows:
    ids = torch.randint(1, 60, (12,), generator=torch.Generator().manual_seed(0)).numpy()
    types = None
    lengths = (7, 5)


def make(kind: str = "BertForSequenceClassification", **fields: Any) -> Any:
    torch.manual_seed(0)
    return getattr(bertie, kind)(BertConfig(**{**SIZES, **fields})).eval()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_class_of_the_engine(kind: str) -> None:
    model = make(kind, num_labels=2)
    found = bertie.optimize(model).hidden_states(Rows())
    packed = bertie.Packed.from_flat(Rows.ids, list(Rows.lengths))
    with torch.no_grad():
        expected = getattr(model, "bert", model)(packed).last_hidden_state
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}, {"num_hidden_layers": 0}]
)
def test_other_configs(fields: dict[str, Any]) -> None:
    assert isinstance(bertie.optimize(make(**fields)), Engine)


def test_it_is_a_snapshot() -> None:
    model = make()
    fast = bertie.optimize(model)
    before = fast.logits(Rows())
    model.bert.encoder.layer[0].output.dense.weight.data[5] = 3
    model.classifier.bias.data += 1
    assert (fast.logits(Rows()) == before).all()
    assert (bertie.optimize(model).logits(Rows()) != before).all()
    assert fast.explain().startswith("a snapshot of a BertForSequenceClassification on the engine")


def test_int8() -> None:
    class Letters:
        model_max_length = 32

        def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
            ids = [[2, *(5 + ord(letter) % 50 for letter in text), 3] for text in texts]
            return {"input_ids": ids, "token_type_ids": [[0] * len(row) for row in ids]}

    model = bertie.quantize(make(), "int8", texts=["apples and pears", "a cart"] * 8, tokenizer=Letters())
    packed = bertie.Packed.from_flat(Rows.ids, list(Rows.lengths))
    with torch.no_grad():
        expected = model(packed).logits
    torch.testing.assert_close(torch.from_numpy(bertie.optimize(model).logits(Rows())), expected, atol=1e-2, rtol=1e-2)


def hooked(model: Any) -> Any:
    model.bert.encoder.layer[1].register_forward_hook(lambda *_: None)
    return model


def hooked_itself(model: Any) -> Any:
    model.register_forward_hook(lambda *_: None)
    return model


def other_activation(model: Any) -> Any:
    model.bert.encoder.layer[0].intermediate.intermediate_act_fn = nn.ReLU()
    return model


def other_block(model: Any) -> Any:
    class Block(nn.Module):
        def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            return hidden_states

    model.bert.encoder.layer[0] = Block()
    return model


def other_epsilon(model: Any) -> Any:
    model.bert.encoder.layer[0].output.LayerNorm.eps = 0.5
    return model


def other_forward(model: Any) -> Any:
    class Mine(bertie.BertForSequenceClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output["logits"] = output.logits * 2
            return output

    mine = Mine(model.config).eval()
    mine.load_state_dict(model.state_dict())
    return mine


def masked(model: Any) -> Any:
    prune.l1_unstructured(model.bert.encoder.layer[0].output.dense, "weight", amount=0.5)
    return model


def adapted(model: Any) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query"])).eval()


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "no model": (lambda model: model.config, InputTypeError, "optimize takes one of bertie's models, not a bertie.con"),
    "training": (lambda model: model.train(), InputError, r"it is in training mode; call model.eval\(\) first"),
    "half": (lambda model: model.bfloat16(), InputError, "its weights are torch.bfloat16, .* model.float()"),
    "elsewhere": (lambda model: model.to("meta"), InputError, "it is on meta, and the engine computes on the CPU"),
    "a hook": (hooked, InputError, "there is a forward hook of .* on bert.encoder.layer.1"),
    "a hook on the model": (hooked_itself, InputError, "it has hooks, or a replaced forward"),
    "another block": (other_block, InputError, "there is .*Block in the place of bert.encoder.layer.0"),
    "another activation": (other_activation, InputError, "its logits differ by .* not what its config says"),
    "another epsilon": (other_epsilon, InputError, "its logits differ by"),
    "another forward": (other_forward, InputError, "its logits differ by"),
    "a mask": (masked, InputTypeError, "this model's '.*weight' does not fit"),
    "adapters": (
        adapted,
        InputTypeError,
        r"not a peft.*; for one with adapters, pass the result of merge_and_unload\(\)",
    ),
    "adapters within": (lambda model: adapted(model).base_model.model, InputTypeError, "merge adapters into the weigh"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_models_the_engine_cannot_replace(what: str) -> None:
    change, error, sentence = REFUSED[what]
    with pytest.raises(error, match=sentence):
        bertie.optimize(change(make()))


def test_decoders() -> None:
    with pytest.raises(ConfigError, match="it is a decoder, not a BertForSequenceClassification"):
        bertie.optimize(make(is_decoder=True))
    with pytest.raises(ConfigError, match="its config says is_decoder=false"):
        bertie.optimize(make("BertLMHeadModel"))
    assert bertie.optimize(make("BertLMHeadModel", is_decoder=True)).explain().startswith("a snapshot of a BertLMHead")


def test_merged_adapters(tmp_path: Any) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    model = make()
    plain = bertie.optimize(copy.deepcopy(model)).logits(Rows())
    merged = peft.get_peft_model(model, config).merge_and_unload().eval()
    assert (bertie.optimize(merged).logits(Rows()) != plain).all()
