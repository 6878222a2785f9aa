"""Writing a BERT encoder as a GGUF file for llama.cpp: float32 weights, vocabulary and pooling in one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.extras import need
from bertie.kernels import gemm
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.messages import short
from bertie.progress import say_once
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tokenization.tokenizer import Tokenizer

GGUF_FILE = "model.gguf"
_POSITIONS = "bert.embeddings.position_embeddings.weight"
# llama.cpp's names → BERT's, outside of the blocks and within one
_OUTSIDE_BLOCKS = {
    "token_embd": "bert.embeddings.word_embeddings",
    "token_types": "bert.embeddings.token_type_embeddings",
    "position_embd": _POSITIONS.removesuffix(".weight"),
    "token_embd_norm": "bert.embeddings.LayerNorm",
}
_OF_BLOCK = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}
_POOLING = {"mean": "MEAN", "cls": "CLS", "lasttoken": "LAST"}


def write_gguf(
    path: Path, config: BertConfig, tensors: dict[str, NDArray[Any]], tokenizer: Tokenizer, recipe: Recipe
) -> None:
    """Write an encoder from ``tensors`` under canonical names; models that llama.cpp computes differently are refused.

    llama.cpp computes GELU with tanh, from a half-precision table: vectors agree to about three digits.
    """
    gguf = need("gguf", "convert", "Writing for llama.cpp")
    if (largest := max(tokenizer.get_vocab().values())) >= config.vocab_size:
        raise InputError(
            f"the tokenizer has a token {largest}, but the model embeds 0 to {config.vocab_size - 1}: they don't "
            "belong together"
        )
    if why := _why_not(config, tokenizer, recipe):
        raise InputError(f"llama.cpp would compute other vectors: {why}; use to='safetensors', or export to ONNX")
    if heads := [name for name in tensors if not name.startswith(("bert.embeddings", "bert.encoder", "bert.pooler"))]:
        say_once(f"llama.cpp embeds texts: the head ({min(heads)!r}) is left out")
    if prompt := recipe.prompts.get(recipe.default_prompt or ""):
        say_once(f"llama.cpp adds no prompt to texts: begin each with {short(prompt)} yourself")
    writer = gguf.GGUFWriter(path, "bert")
    positions = min(config.max_tokens, recipe.max_length or tokenizer.model_max_length)
    tensors = {**tensors, _POSITIONS: tensors[_POSITIONS][:positions]}  # as many as the context length
    writer.add_context_length(positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType[_POOLING[recipe.modes[0]]])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(writer, gguf, config, tokenizer)
    for name, tensor in _named(config, tensors):
        writer.add_tensor(name, np.ascontiguousarray(tensor, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _why_not(config: BertConfig, tokenizer: Tokenizer, recipe: Recipe) -> str:
    """Return a feature of the model that llama.cpp does not support, or an empty string."""
    layers = [
        layer.kind for layer in (*recipe.token_layers, *recipe.layers) if layer.kind not in ("Normalize", "Dropout")
    ]
    lowers = recipe.lower_case or getattr(tokenizer, "do_lower_case", False)
    code = ACTIVATION_CODES.get(str(config.hidden_act))
    added = sorted(tokenizer.get_added_vocab().keys() - set(tokenizer.all_special_tokens))
    found = {
        f"its model_type is {config.model_type!r}": not config.family.is_bert,
        "it is a decoder": config.is_decoder,
        f"its positions are {config.position_embedding_type!r}": config.position_embedding_type != "absolute",
        f"its hidden_act is {config.hidden_act!r}": code not in (gemm.GELU, gemm.GELU_TANH),
        f"it pools by {' and '.join(recipe.modes)}": len(recipe.modes) > 1 or recipe.modes[0] not in _POOLING,
        f"it has a layer {layers[:1]} around its pooling": bool(layers),
        "its vectors are cut (truncate_dim)": recipe.truncate_dim is not None,
        "it pools a text without its prompt (include_prompt=false)": bool(recipe.prompts) and not recipe.include_prompt,
        "its tokenizer is not BERT's": not tokenizer.states_bert,
        f"tokens were added to its vocabulary ({', '.join(added[:3])})": bool(added),
        "its tokenizer does not split Chinese characters": getattr(tokenizer, "tokenize_chinese_chars", True) is False,
        "its tokenizer keeps capitals or accents": not (
            lowers and getattr(tokenizer, "strip_accents", None) is not False
        ),
    }
    return next((why for why, is_so in found.items() if is_so), "")


def _add_vocabulary(writer: Any, gguf: Any, config: BertConfig, tokenizer: Tokenizer) -> None:
    """Add the vocabulary: llama.cpp marks the first piece of a word, BERT the others."""
    tokens = [f"[unused_row{number}]" for number in range(config.vocab_size)]
    kinds = [int(gguf.TokenType.UNUSED)] * config.vocab_size
    special = set(tokenizer.all_special_tokens)
    for token, number in tokenizer.get_vocab().items():
        kinds[number] = int(gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL)
        tokens[number] = token if token in special else token[2:] if token.startswith("##") else f"\u2581{token}"
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(config.type_vocab_size)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    writer.add_eos_token_id(tokenizer.sep_token_id)
    for name in ("unk", "sep", "pad", "mask"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)


def _named(config: BertConfig, tensors: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the encoder's tensors under llama.cpp's names."""
    modules = dict(_OUTSIDE_BLOCKS)
    for number in range(config.num_hidden_layers):
        modules |= {
            f"blk.{number}.{theirs}": f"bert.encoder.layer.{number}.{ours}" for theirs, ours in _OF_BLOCK.items()
        }
    for theirs, ours in modules.items():
        for leaf in ("weight", "bias"):
            if (tensor := tensors.get(f"{ours}.{leaf}")) is not None:
                yield f"{theirs}.{leaf}", tensor
