"""What the ``tokenizer_class`` of a model folder says: BERT's tokenizer, what ``tokenizer.json`` states, or another."""

from collections.abc import Mapping
from typing import Any

from bertie.errors import CheckpointError
from bertie.families import FAMILIES

JAPANESE = "BertJapaneseTokenizer"
# in transformers, these are BERT's by another name
_BERT = {
    *("BertTokenizer", "BertTokenizerLegacy", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    *("SqueezeBertTokenizer", "ConvBertTokenizer", "RetriBertTokenizer", "RealmTokenizer", "LayoutLMTokenizer"),
    *("LxmertTokenizer", "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer"),
}
_ANY = {"PreTrainedTokenizer", "PreTrainedTokenizerBase", "TokenizersBackend", "PythonBackend"}
# what they do to a text stands in no tokenizer.json
_MORE_THAN_THEIR_FILE = {"RoFormerTokenizer": "cuts Chinese into words with jieba"}
_UNTYPED = ["input_ids", "attention_mask"]
_ROBERTA = dict.fromkeys(("bos_token", "cls_token"), "<s>") | dict.fromkeys(("eos_token", "sep_token"), "</s>")
_ROBERTA |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
# what classes have where their files are silent
_DEFAULTS: dict[str, dict[str, Any]] = {
    **{name: {"model_input_names": _UNTYPED} for name in _ANY},
    "DistilBertTokenizer": {"model_input_names": _UNTYPED},
    "XLMRobertaTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "CamembertTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "RobertaTokenizer": {**_ROBERTA, "model_input_names": _UNTYPED},
    "MPNetTokenizer": {**_ROBERTA, "unk_token": "[UNK]", "model_input_names": _UNTYPED},
}


def stated_class(*configs: Mapping[str, Any]) -> str | None:
    """Return the class that the first of some files names, without "Fast"; None if none does."""
    for config in configs:
        name = config.get("tokenizer_class")
        if isinstance(name, str) and name:
            return name.removesuffix("Fast")
    return None


def class_of_family(model_type: object) -> str | None:
    """Return the class that models of a sibling of BERT have where no file names one; None for BERT and strangers."""
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    return None if family is None or family.is_bert else f"{family.name}Tokenizer"


def is_bert(stated: str | None) -> bool:
    """Whether the class is BERT's, as it is where nothing is said."""
    return stated is None or stated in _BERT


def defaults(stated: str | None) -> dict[str, Any]:
    """Return the constructor's arguments that the class has where its files are silent."""
    return dict(_DEFAULTS.get(stated or "", {}))


def check_class(stated: str | None, name: str, has_json: bool) -> None:
    """Refuse a class whose ids would not be BERT's, unless a ``tokenizer.json`` states how they are made."""
    if is_bert(stated) or stated == JAPANESE:
        return
    if stated in _MORE_THAN_THEIR_FILE:
        raise CheckpointError(
            f"the tokenizer of {name!r} is a {stated}, which {_MORE_THAN_THEIR_FILE[stated]}; bertie does not, "
            "and any other tokenizer would give other ids: encode texts with transformers, and give the model ids"
        )
    if has_json:
        return
    if stated in _ANY:
        raise CheckpointError(
            f"the tokenizer of {name!r} is a {stated}, which is what its tokenizer.json states, but there is none; "
            "fetch that file too"
        )
    raise CheckpointError(
        f"the tokenizer of {name!r} is a {stated}, whose ids are not those of BERT's, and there is no tokenizer.json "
        "that states how it works; write one with transformers: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )
