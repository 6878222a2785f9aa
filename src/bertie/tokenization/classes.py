"""The ``tokenizer_class`` of a model folder: BERT's tokenizer, whatever ``tokenizer.json`` states, or unsupported."""

from collections.abc import Mapping
from typing import Any

from bertie.errors import CheckpointError
from bertie.families import FAMILIES

JAPANESE = "BertJapaneseTokenizer"
# in transformers, these are BERT's tokenizer under other names
_BERT = {
    *("BertTokenizer", "BertTokenizerLegacy", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    *("SqueezeBertTokenizer", "ConvBertTokenizer", "RetriBertTokenizer", "RealmTokenizer", "LayoutLMTokenizer"),
    *("LxmertTokenizer", "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer"),
}
_ANY = {"PreTrainedTokenizer", "PreTrainedTokenizerBase", "TokenizersBackend", "PythonBackend"}
# they preprocess texts in ways that tokenizer.json cannot state
_MORE_THAN_THEIR_FILE = {"RoFormerTokenizer": "cuts Chinese into words with jieba"}
_UNTYPED = ["input_ids", "attention_mask"]
_ROBERTA = dict.fromkeys(("bos_token", "cls_token"), "<s>") | dict.fromkeys(("eos_token", "sep_token"), "</s>")
_ROBERTA |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
# what classes use for settings that their files don't have
_DEFAULTS: dict[str, dict[str, Any]] = {
    **{name: {"model_input_names": _UNTYPED} for name in _ANY},
    "DistilBertTokenizer": {"model_input_names": _UNTYPED},
    "XLMRobertaTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "CamembertTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "RobertaTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "MPNetTokenizer": {**_ROBERTA, "unk_token": "[UNK]", "model_input_names": _UNTYPED},
}


def stated_class(*configs: Mapping[str, Any]) -> str | None:
    """Return the class that the first of the files to name one names, without "Fast"; None if none does."""
    for config in configs:
        name = config.get("tokenizer_class")
        if isinstance(name, str) and name:
            return name.removesuffix("Fast")
    return None


def class_of_family(model_type: object) -> str | None:
    """Return the class that a sibling of BERT has if no file names one; None for BERT and unknown models."""
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    return None if family is None or family.is_bert else f"{family.name}Tokenizer"


def is_bert(stated: str | None) -> bool:
    """Whether the class is BERT's, the default."""
    return stated is None or stated in _BERT


def defaults(stated: str | None) -> dict[str, Any]:
    """Return the class's own defaults for arguments of the constructor that its files don't have."""
    return dict(_DEFAULTS.get(stated or "", {}))


def check_class(stated: str | None, name: str, has_json: bool) -> None:
    """Refuse a class whose ids are not BERT's, unless a ``tokenizer.json`` states how they are made."""
    if is_bert(stated) or stated == JAPANESE:
        return
    if stated in _MORE_THAN_THEIR_FILE:
        raise CheckpointError(
            f"the tokenizer of {name!r} is a {stated}, which {_MORE_THAN_THEIR_FILE[stated]}; bertie does not, "
            "and would get different ids: encode texts with transformers, and give the model ids"
        )
    if has_json:
        return
    if stated in _ANY:
        raise CheckpointError(
            f"the tokenizer of {name!r} is a {stated}, which runs whatever its tokenizer.json states, but there is "
            "none; fetch that file too"
        )
    raise CheckpointError(
        f"the tokenizer of {name!r} is a {stated}, whose ids are not BERT's, and there is no tokenizer.json that "
        "states how it works; write one with transformers: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )
