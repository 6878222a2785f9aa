"""From a config.json's keys to the fields of a `BertConfig`: old names, labels, and keys that are ignored."""

from typing import Any

from bertie.fields import FIELDS, GENERAL, labels_of_file
from bertie.messages import short
from bertie.progress import say_once

# keys that select code, kernels or an attention implementation: never followed, never saved again
_NEVER_FOLLOWED = ("auto_map", "trust_remote_code", "custom_pipelines", "attn_implementation", "experts_implementation")
_NEVER_FOLLOWED_PREFIXES = ("_attn_implementation", "_experts_implementation", "kernel", "use_kernel")
LABELS = ("num_labels", "id2label", "label2id")
NOT_FIELDS = ("model_type", "_commit_hash", "_num_labels", "num_labels", "torch_dtype", "name_or_path")
# null in a file means the default, as in the reference
_NULL_IS_DEFAULT = (
    *("output_hidden_states", "output_attentions", "return_dict"),
    *("position_embedding_type", "_name_or_path"),
)


def split(cls: type, data: dict[str, Any], replaced: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a file's keys into arguments for the constructor and unknown keys, which are kept as they are.

    ``replaced`` names the label fields that the caller overrides.
    """
    for name in [n for n in data if n in _NEVER_FOLLOWED or n.startswith(_NEVER_FOLLOWED_PREFIXES)]:
        say_once(f"the config's key {name!r} ({short(data.pop(name))}) is ignored: a file cannot choose code to run")
    number = data.pop("_num_labels", None)
    if number is not None and data.get("id2label") is None:
        data.setdefault("num_labels", number)
    known = {name: data.pop(name) for name in list(data) if name in FIELDS or name in (*NOT_FIELDS, *GENERAL)}
    known.pop("_commit_hash", None)
    if replaced - {"num_labels"}:
        known = {name: value for name, value in known.items() if name not in LABELS}
    elif any(known.get(name) is not None for name in LABELS):
        known["id2label"], notes = labels_of_file(*(known.pop(name, None) for name in LABELS))
        for note in () if replaced else notes:
            say_once(note)
    known = {
        name: value
        for name, value in known.items()
        if value is not None or (name in FIELDS and name not in _NULL_IS_DEFAULT)
    }
    # an untrusted file must not shadow a class attribute or method
    extra = {name: value for name, value in data.items() if not name.startswith("_") and not hasattr(cls, name)}
    return known, extra


def with_overrides(data: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the file's fields updated with the caller's; all label fields count as one, and so do both dtypes."""
    for group in (("dtype", "torch_dtype"), ("name_or_path", "_name_or_path")):
        if any(overrides.get(name) is not None for name in group):
            data = {name: value for name, value in data.items() if name not in group}
    given = {name for name in LABELS if overrides.get(name) is not None}
    same_number = given == {"num_labels"} and overrides["num_labels"] == len(data.get("id2label") or ())
    if given and not same_number:
        data = {name: value for name, value in data.items() if name not in LABELS}
    return data | overrides
