"""What an encoder-decoder is trained from: one that was saved as such, or two BERTs put together (arXiv 1907.12461)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bertie.encoder_decoder_config import is_encoder_decoder
from bertie.errors import InputError, spelled
from bertie.finetuning.plan import Plan, is_place
from bertie.models import auto
from bertie.models.bert import BertModel
from bertie.models.causal_lm import BertLMHeadModel
from bertie.models.dequantizing import to_train
from bertie.models.encoder_decoder import EncoderDecoderModel
from bertie.progress import quietly
from bertie.tokenization.auto import AutoTokenizer


class Starting(NamedTuple):
    """What `bertie.pipelines.factory.load_task` is to load: a model, and its tokenizer if that is not the model's."""

    model: Any
    tokenizer: Any = None


def starting_model(plan: Plan, loading: Mapping[str, Any]) -> Starting:
    """Return what a plan starts from, by arguments of ``from_pretrained``.

    Of a task whose model has an encoder and a decoder, one BERT becomes both and two become one each.
    """
    given: Any = plan.model
    if getattr(auto, plan.row.model_class).model_class is not EncoderDecoderModel:
        if isinstance(given, tuple):
            raise InputError(f"{plan.row.name} has no encoder and decoder of its own; give one {spelled('model')}.")
        return Starting(given)
    halves: tuple[Any, ...] = given if isinstance(given, tuple) else (given, given)
    if given is not halves and (not is_place(given) or is_encoder_decoder(given)):
        return Starting(given)
    if not is_place(halves) or len(halves) != 2:
        raise InputError(
            "An encoder and a decoder are two folders or names; of models make a bertie.EncoderDecoderModel first."
        )
    if plan.lora is not None:
        raise InputError(
            f"{spelled('lora')} adapts what a model has learned, and the cross-attention between two BERTs has learned "
            "nothing yet: leave it out, or start from an encoder-decoder that was trained."
        )
    return _put_together(*halves, loading)


def _put_together(encoder: Any, decoder: Any, loading: Mapping[str, Any]) -> Starting:
    words, others = AutoTokenizer.from_pretrained(encoder), AutoTokenizer.from_pretrained(decoder)
    own, other = words.get_vocab(), others.get_vocab()
    if own != other:
        raise InputError(
            f"The encoder {str(encoder)!r} and the decoder {str(decoder)!r} have different vocabularies ({len(own):,} "
            f"and {len(other):,} entries; {len(own.items() ^ other.items()):,} are not in both with the same id), and "
            "one tokenizer serves both: take two BERTs with the same vocabulary."
        )
    with quietly():  # a head that is left out is no news
        reader = BertModel.from_pretrained(encoder, is_decoder=False, add_cross_attention=False, **loading)
    pair = EncoderDecoderModel(encoder=to_train(reader, encoder), decoder=load_decoder(decoder, loading))
    return Starting(pair.eval(), words)


def load_decoder(place: Any, loading: Mapping[str, Any]) -> BertLMHeadModel:
    """Return a BERT that writes; cross-attention that it has not learned starts as self-attention (arXiv 2106.13736).

    Its heads find the neighbours of a place in the source at once, so that a model copies much sooner.
    """
    loading = {**loading, "is_decoder": True, "add_cross_attention": True, "output_loading_info": True}
    with quietly():
        loaded: Any = BertLMHeadModel.from_pretrained(place, **loading)
    model, info = to_train(loaded[0], place), loaded[1]
    if any(".crossattention." in name for name in info["missing_keys"]):
        for block in model.bert.encoder.layer:  # not strict: cross-attention has no table of distances
            block.crossattention.load_state_dict(block.attention.state_dict(), strict=False)
    return model
