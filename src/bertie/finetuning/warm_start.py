"""Starting models of encoder-decoders: a saved encoder-decoder, or two BERTs combined (arXiv 1907.12461)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bertie.encoder_decoder_config import is_encoder_decoder
from bertie.errors import InputError, spelled
from bertie.finetuning.plan import Plan, is_path_or_name
from bertie.models import auto
from bertie.models.bert import BertModel
from bertie.models.causal_lm import BertLMHeadModel
from bertie.models.dequantizing import to_train
from bertie.models.encoder_decoder import EncoderDecoderModel
from bertie.progress import quietly
from bertie.tokenization.auto import AutoTokenizer


class StartingModel(NamedTuple):
    """Arguments of `bertie.pipelines.factory.load_task`: a model, and a tokenizer if it is not the model's own."""

    model: Any
    tokenizer: Any = None


def starting_model(plan: Plan, loading: Mapping[str, Any]) -> StartingModel:
    """Return the model that a plan starts from; ``loading`` are arguments of ``from_pretrained``.

    For an encoder-decoder task, one BERT becomes both encoder and decoder, and two become one each.
    """
    given: Any = plan.model
    if getattr(auto, plan.row.model_class).model_class is not EncoderDecoderModel:
        if isinstance(given, tuple):
            raise InputError(f"{plan.row.name} has no separate encoder and decoder; give one {spelled('model')}.")
        return StartingModel(given)
    halves: tuple[Any, ...] = given if isinstance(given, tuple) else (given, given)
    if given is not halves and (not is_path_or_name(given) or is_encoder_decoder(given)):
        return StartingModel(given)
    if not is_path_or_name(halves) or len(halves) != 2:
        raise InputError(
            "Give encoder and decoder as two folders or names; combine models with bertie.EncoderDecoderModel first."
        )
    if plan.lora is not None:
        raise InputError(
            f"{spelled('lora')} adapts trained weights, but the cross-attention between two BERTs is untrained: leave "
            "it out, or start from a trained encoder-decoder."
        )
    return _combine(*halves, loading)


def _combine(encoder: Any, decoder: Any, loading: Mapping[str, Any]) -> StartingModel:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    own, other = tokenizer.get_vocab(), AutoTokenizer.from_pretrained(decoder).get_vocab()
    if own != other:
        raise InputError(
            f"The encoder {str(encoder)!r} and the decoder {str(decoder)!r} have different vocabularies ({len(own):,} "
            f"and {len(other):,} entries; {len(own.items() ^ other.items()):,} are not in both with the same id), and "
            "one tokenizer serves both: take two BERTs with the same vocabulary."
        )
    with quietly():  # dropping the head is expected
        reader = BertModel.from_pretrained(encoder, is_decoder=False, add_cross_attention=False, **loading)
    pair = EncoderDecoderModel(encoder=to_train(reader, encoder), decoder=load_decoder(decoder, loading))
    return StartingModel(pair.eval(), tokenizer)


def load_decoder(place: Any, loading: Mapping[str, Any]) -> BertLMHeadModel:
    """Return a BERT decoder; untrained cross-attention is initialised from its self-attention (arXiv 2106.13736).

    These heads find the neighbours of a position in the source from the start, so the model learns to copy much sooner.
    """
    loading = {**loading, "is_decoder": True, "add_cross_attention": True, "output_loading_info": True}
    with quietly():
        loaded: Any = BertLMHeadModel.from_pretrained(place, **loading)
    model, info = to_train(loaded[0], place), loaded[1]
    if any(".crossattention." in name for name in info["missing_keys"]):
        for block in model.bert.encoder.layer:  # not strict: cross-attention has no relative position embeddings
            block.crossattention.load_state_dict(block.attention.state_dict(), strict=False)
    return model
