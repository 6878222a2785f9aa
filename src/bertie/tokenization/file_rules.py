"""What the values in a tokenizer's files may be: the tables that `bertie.files.checked_values` is given."""

from bertie.rules import Rule
from bertie.tokenization.special_tokens import NAMES

LARGEST_ID = 10_000_000 - 1  # as many tokens as a config's vocab_size may count


def _all(names: str, kind: str, none: bool = False) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), Rule(names, kind, none=none))


ADDED_TOKEN = _all("content", "text") | _all("special single_word lstrip rstrip normalized", "true or false")
SERIALIZED_TOKEN = ADDED_TOKEN | {"id": Rule("its number", "integer", 0, LARGEST_ID)}
CONFIG = (
    _all(" ".join(NAMES), "text or mapping", none=True)
    | _all("do_lower_case tokenize_chinese_chars do_basic_tokenize", "true or false")
    | _all("strip_accents split_special_tokens clean_up_tokenization_spaces", "true or false", none=True)
    | dict.fromkeys(("padding_side", "truncation_side"), Rule("a side", "choice", choices=("right", "left"), none=True))
    | dict.fromkeys(("model_max_length", "max_len"), Rule("most tokens of a text", "number", 1, none=True))
    | _all("never_split model_input_names", "list of texts", none=True)
    | {"pad_token_type_id": Rule("", "integer", 0, 65_535, none=True)}
    | _all("added_tokens_decoder", "mapping", none=True)
    | _all("tokenizer_class", "text", none=True)
)
SERIALIZED = (
    _all("model", "mapping")
    | _all("added_tokens", "list", none=True)
    | _all("normalizer pre_tokenizer post_processor decoder", "mapping", none=True)
)
NORMALIZER = _all("clean_text handle_chinese_chars lowercase", "true or false") | _all(
    "strip_accents", "true or false", none=True
)
MODEL = _all("unk_token continuing_subword_prefix", "text") | {
    "max_input_chars_per_word": Rule("", "integer", 0, 2**31 - 1)
}
