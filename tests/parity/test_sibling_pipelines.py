"""BERT's siblings from text to answer: with their own tokenizers, pipelines answer as ``transformers``' do."""

import itertools
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file
from tokenizers import models, pre_tokenizers, trainers

import bertie
from bertie.families import FAMILIES

TEXTS = [
    "The ship sailed into the old harbour at dawn, and nobody saw it.",
    "She drank a cup of tea.",
    "Où est la bibliothèque ? Elle est là-bas, près de l'église.",
    "Der alte Mann und das Meer: ein Buch von 1952.",
]
QUESTION = {"question": "What did she drink?", "context": "It was late. She drank a cup of tea and went home."}
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TINY = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
SIZES: dict[str, dict[str, Any]] = {
    "roberta": {**TINY, "max_position_embeddings": 130, "type_vocab_size": 1},
    "xlm-roberta": {**TINY, "max_position_embeddings": 130, "type_vocab_size": 1},
    "camembert": {**TINY, "max_position_embeddings": 130, "type_vocab_size": 1},
    "mpnet": {**TINY, "max_position_embeddings": 130},
    "distilbert": {"n_layers": 1, "n_heads": 2, "dim": 16, "hidden_dim": 24, "max_position_embeddings": 128},
    "electra": {**TINY, "max_position_embeddings": 128, "embedding_size": 8},
}


@cache
def tokenizer_of(kind: str) -> Any:
    """A small tokenizer of the family's own class, learned from the texts."""
    if kind in ("distilbert", "electra", "mpnet"):
        words = sorted({letter for text in TEXTS for letter in text.lower() if letter.isalnum() or letter in ".,?:'-"})
        special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"] if kind == "mpnet" else BERT
        vocab = [*special, "the", "she", "cup", "tea", *words, *(f"##{word}" for word in words)]
        made = getattr(transformers, f"{FAMILIES[kind].name}Tokenizer")
        return made(vocab={word: number for number, word in enumerate(vocab)})
    if kind == "roberta":
        rust = tokenizers.Tokenizer(models.BPE())
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet)
        rust.train_from_iterator(TEXTS, trainer)
        return transformers.RobertaTokenizer(vocab=rust.get_vocab(), merges=_merges(rust))
    rust = tokenizers.Tokenizer(models.Unigram())
    rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    rust.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="<unk>"))
    vocab = _state(rust)["vocab"]
    made = transformers.XLMRobertaTokenizer if kind == "xlm-roberta" else transformers.CamembertTokenizer
    return made(vocab=[tuple(each) for each in vocab])


def _state(rust: tokenizers.Tokenizer) -> Any:
    return json.loads(rust.to_str())["model"]


def _merges(rust: tokenizers.Tokenizer) -> list[tuple[str, str]]:
    return [tuple(each) for each in _state(rust)["merges"]]


@cache
def folder_of(kind: str, head: str, place: Path) -> Path:
    torch.manual_seed(1)
    tokenizer = tokenizer_of(kind)
    more = {} if head == "QuestionAnswering" else {"num_labels": 3}
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(tokenizer), **SIZES[kind], **more, **special)
    door = transformers.AutoModel if head == "Model" else getattr(transformers, f"AutoModelFor{head}")
    model = door.from_config(config)
    with torch.no_grad():  # answers that differ from each other
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(place / kind / head)
    tokenizer.save_pretrained(place / kind / head)
    return place / kind / head


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("siblings")


def both(task: str, kind: str, head: str, place: Path, **options: Any) -> tuple[Any, Any]:
    folder = folder_of(kind, head, place)
    ours = bertie.pipeline(task, str(folder), device="cpu")
    assert "on the engine" in ours.explain()
    return ours, transformers.pipeline(task, str(folder), device="cpu", **options)


def close(ours: Any, theirs: Any) -> None:
    """Compare answers member by member, numbers within what single precision allows."""
    if isinstance(theirs, dict):
        assert set(theirs) <= set(ours)
        for name, value in theirs.items():
            close(ours[name], value)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            close(one, other)
    elif isinstance(theirs, float | np.floating):
        assert float(ours) == pytest.approx(float(theirs), abs=1e-5)
    else:
        assert ours == theirs


@pytest.mark.parametrize("kind", SIZES)
def test_ids(kind: str, place: Path) -> None:
    folder = folder_of(kind, "Model", place)
    ours, theirs = (library.AutoTokenizer.from_pretrained(folder) for library in (bertie, transformers))
    for pair in ((), (TEXTS[1:] + TEXTS[:1],)):
        assert dict(ours(TEXTS, *pair)) == dict(theirs(TEXTS, *pair))
    assert ours.all_special_tokens == theirs.all_special_tokens


@pytest.mark.parametrize("kind", SIZES)
def test_files_that_name_no_class(kind: str, place: Path, tmp_path: Path) -> None:
    """As roberta-base lies in the hub: config.json alone says whose tokenizer it is."""
    folder = shutil.copytree(folder_of(kind, "Model", place), tmp_path / kind)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    ours, theirs = (library.AutoTokenizer.from_pretrained(folder) for library in (bertie, transformers))
    found, wanted = (dict(tokenizer(TEXTS, TEXTS[1:] + TEXTS[:1])) for tokenizer in (ours, theirs))
    if kind == "distilbert":
        del wanted["token_type_ids"]  # which the model would not read
    assert found == wanted
    for name in ("cls_token_id", "sep_token_id", "pad_token_id", "mask_token_id"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize("kind", SIZES)
def test_classification_of_texts_and_pairs(kind: str, place: Path) -> None:
    ours, theirs = both("text-classification", kind, "SequenceClassification", place)
    close(ours(TEXTS, top_k=None), theirs(TEXTS, top_k=None))
    pairs = [{"text": one, "text_pair": other} for one, other in itertools.pairwise(TEXTS)]
    close(ours(pairs), theirs(pairs))


@pytest.mark.parametrize("kind", SIZES)
def test_masks(kind: str, place: Path) -> None:
    ours, theirs = both("fill-mask", kind, "MaskedLM", place)
    text = f"She drank a cup of {ours.tokenizer.mask_token}."
    close(ours(text), theirs(text))


@pytest.mark.parametrize("kind", SIZES)
def test_classes_of_tokens(kind: str, place: Path) -> None:
    ours, theirs = both("token-classification", kind, "TokenClassification", place)
    close(ours(TEXTS), theirs(TEXTS))


@pytest.mark.parametrize("kind", SIZES)
def test_answers_to_questions(kind: str, place: Path) -> None:
    folder = folder_of(kind, "QuestionAnswering", place)
    found = bertie.pipeline("question-answering", str(folder), device="cpu", align_to_words=False)(QUESTION)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    row = tokenizer(*QUESTION.values(), return_offsets_mapping=True, return_tensors="pt")
    offsets, inside = row.pop("offset_mapping")[0].tolist(), [text == 1 for text in row.sequence_ids(0)]
    outputs = transformers.AutoModelForQuestionAnswering.from_pretrained(folder)(**row)
    scores = outputs.start_logits[0][:, None] + outputs.end_logits[0]
    allowed = torch.tensor(inside)[:, None] & torch.tensor(inside) & torch.ones_like(scores).bool().triu().tril(14)
    first, last = divmod(int(scores.masked_fill(~allowed, -torch.inf).argmax()), len(inside))
    assert (found["start"], found["end"]) == (offsets[first][0], offsets[last][1])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", SIZES)
def test_vectors_of_a_sentence_transformers_folder(kind: str, pooling: str, place: Path, tmp_path: Path) -> None:
    """As all-distilroberta-v1 and multilingual-e5 are laid out: the encoder's files, modules.json, a pooling."""
    folder = shutil.copytree(folder_of(kind, "Model", place), tmp_path / kind)
    names = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (path, name) in enumerate(zip(("", "1_Pooling", "2_Normalize"), names, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    stated = {"word_embedding_dimension": 16, f"pooling_mode_{pooling}_token{'s' * (pooling == 'mean')}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": False, **stated}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    found = bertie.pipeline("embed", str(folder), device="cpu")(TEXTS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    rows = [tokenizer(text, truncation=True, max_length=32, return_tensors="pt") for text in TEXTS]
    states = [model(**row).last_hidden_state[0] for row in rows]
    vectors = torch.stack([state.mean(0) if pooling == "mean" else state[0] for state in states])
    wanted = torch.nn.functional.normalize(vectors).detach().numpy()
    assert np.abs(np.stack(found) - wanted).max() <= 1e-6


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "distilbert", "electra"])
def test_int8_is_saved_by_the_family_s_names(kind: str, place: Path, tmp_path: Path) -> None:
    folder = folder_of(kind, "SequenceClassification", place)
    model = bertie.AutoModelForSequenceClassification.from_pretrained(folder)
    pairs = list(itertools.pairwise(TEXTS))
    small = bertie.quantize(model, texts=[*TEXTS, *pairs], min_cosine=0.9)
    small.save_pretrained(tmp_path)
    bertie.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    scales = [name for name in load_file(tmp_path / "model.safetensors") if name.endswith("weight_scale")]
    assert scales
    assert not any(name.startswith("bert.") for name in scales)
    own, again = (
        bertie.pipeline("text-classification", each, top_k=None)(pairs) for each in (str(folder), str(tmp_path))
    )
    for one, other in zip(own, again, strict=True):
        assert {each["label"] for each in one} == {each["label"] for each in other}
        assert max(each["score"] for each in one) == pytest.approx(max(each["score"] for each in other), abs=0.05)
