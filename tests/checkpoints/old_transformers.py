"""Run by transformers 4 with TensorFlow and Flax: `write FOLDER` saves models in their layouts, `read FOLDER` loads.

Beside each model both write outputs.npz; `read` says what was missing.
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":  # tests read the constants
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_USE_LEGACY_KERAS": "1",
        "USE_TORCH": "0",
    }

import numpy as np
import transformers
from transformers import BertConfig

CLASSES = (
    *("Model", "ForPreTraining", "LMHeadModel", "ForMaskedLM", "ForNextSentencePrediction"),
    *("ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification", "ForQuestionAnswering"),
)
SIZES = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
    "num_labels": 3,
    "initializer_range": 0.5,
}
SIBLINGS = {
    "Roberta": {"type_vocab_size": 1},
    "XLMRoberta": {"type_vocab_size": 1},
    "Camembert": {"type_vocab_size": 1},
    "Electra": {"embedding_size": 16, "pad_token_id": 1},
    "MPNet": {},
    "DistilBert": {"pad_token_id": 1},
}
IDS = np.array([[2, 7, 9, 11, 3], [2, 5, 3, 1, 1]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)


def class_of(library: str, name: str):
    if library == "Flax" and name == "LMHeadModel":
        return transformers.FlaxBertForCausalLM
    return getattr(transformers, f"{library}Bert{name}")


def config_of(name: str) -> BertConfig:
    labels = 2 if name == "ForQuestionAnswering" else 3
    return BertConfig(**SIZES | {"num_labels": labels}, is_decoder=name == "LMHeadModel")


def outputs_of(name: str, model) -> dict[str, np.ndarray]:
    ids, mask = (IDS[None], MASK[None]) if name == "ForMultipleChoice" else (IDS, MASK)
    # Flax's ELECTRA takes token types of 1 if none are given
    types = {"token_type_ids": np.zeros_like(ids)} if "Electra" in type(model).__name__ else {}
    found = model(ids, attention_mask=mask, **types)
    return {key: np.asarray(value) for key, value in found.items() if key not in ("past_key_values",)}


def write(folder: Path) -> None:
    for library in ("TF", "Flax"):
        for name in CLASSES:
            save(class_of(library, name), config_of(name), name, folder / library / name)
        for family, changed in SIBLINGS.items():
            config = getattr(transformers, f"{family}Config")(**SIZES | changed)
            for name in ("ForMaskedLM", "ForSequenceClassification"):
                if kind := getattr(transformers, f"{library}{family}{name}", None):  # Flax lacks some of them
                    save(kind, config, name, folder / library / f"{family}{name}")


def save(kind, config, name: str, place: Path) -> None:
    """Save a model and its outputs; no weight keeps a default of 0 or 1, which could hide a mistake."""
    if kind.__name__.startswith("TF"):
        model = kind(config)
        outputs_of(name, model)
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    else:
        model = kind(config, seed=1)
    model.save_pretrained(place)
    np.savez(place / "outputs.npz", **outputs_of(name, model))


def read(folder: Path) -> None:
    missing = {}
    for library in ("TF", "Flax"):
        for name in CLASSES:
            place = folder / library / name
            kind = class_of(library, name)
            told = {"output_loading_info": True} if library == "TF" else {}  # Flax does not report what is missing
            found = kind.from_pretrained(place, **told)
            model, info = found if told else (found, {})
            missing[f"{library} {name}"] = [each for each in info.get("missing_keys", ()) if "dropout" not in each]
            np.savez(place / "outputs.npz", **outputs_of(name, model))
    print(json.dumps(missing))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
