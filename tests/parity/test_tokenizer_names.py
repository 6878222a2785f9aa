"""Every public name and parameter of transformers' BERT tokenizers exists here, or is listed as an exception."""

import inspect
from typing import Any

import pytest
import transformers

import bertie
from bertie.tokenization.batch_encoding import BatchEncoding

# each with a row in docs/differences.md
_TEMPLATES = {"apply_chat_template", "encode_message_with_chat_template", "get_chat_template", "save_chat_templates"}
_TEMPLATES |= {"get_response_parser", "parse_response"}
_HUB = {"push_to_hub", "register_for_auto_class"}
# steps of the reference's own implementation, which programs don't call
_INSIDE = {"convert_added_tokens", "convert_to_native_format", "pretrained_vocab_files_map", "slow_tokenizer_class"}
_INSIDE |= {"set_truncation_and_padding", "update_post_processor", "add_bos_token", "add_eos_token", "model"}
_INSIDE |= {"prepare_for_tokenization", "truncate_sequences"}
NOT_OFFERED = _TEMPLATES | _HUB | _INSIDE
# of the reference's formats and registry, not of BERT's tokenizers
PARAMETERS_NOT_OFFERED = {"save_pretrained": {"save_format"}, "from_pretrained": {"init_inputs", "inputs"}}

PAIRS: list[tuple[Any, Any]] = [
    (transformers.BertTokenizer, bertie.BertTokenizer),
    (transformers.BertTokenizerFast, bertie.BertTokenizerFast),
    (transformers.BertTokenizerLegacy, bertie.BertTokenizerLegacy),
    (transformers.BertJapaneseTokenizer, bertie.BertJapaneseTokenizer),
    (transformers.BatchEncoding, BatchEncoding),
    (transformers.AutoTokenizer, bertie.AutoTokenizer),
]


def names(cls: Any, ours: Any) -> set[str]:
    """The names of an instance: those of the class, and those set by its constructor."""
    made = set() if ours in (BatchEncoding, bertie.AutoTokenizer) else set(vars(bertie.BertTokenizerLegacy()))
    return set(dir(cls)) | made


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda cls: cls.__name__)
def test_public_names(theirs: Any, ours: Any) -> None:
    wanted = {name for name in dir(theirs) if not name.startswith("_")}
    missing = wanted - names(ours, ours) - NOT_OFFERED - ({"register"} if ours is bertie.AutoTokenizer else set())
    assert not missing
    assert not {name for name in NOT_OFFERED if hasattr(ours, name)}, "offered by now: take it off the list"


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda cls: cls.__name__)
def test_parameters(theirs: Any, ours: Any) -> None:
    compared = 0
    for name in dir(theirs):
        if (name.startswith("_") and name not in ("__init__", "__call__")) or not hasattr(ours, name):
            continue
        method, own = (inspect.getattr_static(cls, name) for cls in (theirs, ours))
        if not (inspect.isroutine(method) and inspect.isroutine(own)):
            continue
        given, offered = parameters(getattr(theirs, name)), parameters(getattr(ours, name))
        missing = given - offered - PARAMETERS_NOT_OFFERED.get(name, set()) - {"self"}
        # arguments of the parent's constructor
        missing -= parameters(bertie.BertTokenizerLegacy.__init__) if name == "__init__" else set()
        assert not missing, name
        compared += 1
    assert compared > 0


def parameters(method: Any) -> set[str]:
    """The parameters of a method, except ``args`` and ``kwargs``."""
    found = inspect.signature(method).parameters.values()
    return {one.name for one in found if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}


def test_names_that_collators_and_programs_use() -> None:
    for cls in (bertie.BertTokenizer, bertie.BertTokenizerLegacy):
        tokenizer = cls(vocab={token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])})
        assert tokenizer._convert_id_to_token(5) == "a"
        assert tokenizer._convert_token_to_id("b") == 1
        tokenizer.additional_special_tokens_ids = [5]
        assert tokenizer.additional_special_tokens == ["a"]
        assert tokenizer.decode([2, 5], spaces_between_special_tokens=False) == tokenizer.decode([2, 5])
        assert tokenizer.batch_decode([[5]], use_source_tokenizer=True) == ["a"]
        for decode in (tokenizer.decode, tokenizer.batch_decode):
            with pytest.raises(
                bertie.InputTypeError, match="decode has no argument 'skip_specials'.*'skip_special_tokens'"
            ):
                decode([5], skip_specials=True)
