"""What answers needs no PyTorch: these run in a process in which it cannot be imported."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from computing import of_module
from labelled import FILES
from safetensors.torch import save_file

import bertie
from bertie.checkpoints import open_checkpoint
from bertie.cli import app, main
from bertie.tasks.registry import ROWS, find
from bertie.tasks.sentence_transformers_config import Layer, Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

SOURCE = Path(bertie.__file__).parent
# rooms, and files of other rooms, that cannot be imported without PyTorch; everything else can
WITH_TORCH = {
    *("attention", "capture", "compression", "dropout", "export/int8_graph", "finetuning"),
    *("integrations", "layers", "models", "outputs", "packing", "row_losses", "training", "zero_copy"),
    *("bench/compare", "generation/tensor_functions", "pipelines/modules", "tasks/summed_losses", "tasks/tensors"),
    *("pretraining/heldout", "pretraining/pretrain", "pretraining/pretraining_learner", "pretraining/starting_model"),
    *("pretraining/pretraining_report", "pretraining/utilization"),
    *("pretraining/teacher", "pretraining/vocabulary_extension"),
}
# of these rooms, what users call says what is missing, and modules inside fail as Python has it
IN_PART = {"generation", "pipelines", "pretraining", "tasks"}
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def without_torch(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which importing torch fails as where it is not installed."""
    command = [sys.executable, "-c", BLOCKED + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", ["models.auto", "attention", "layers.linear", "packing", "outputs"])
def test_modules_that_need_pytorch_say_so_when_they_are_imported(module: str) -> None:
    done = without_torch(f"import bertie.{module}")
    room = module.partition(".")[0]
    sentence = f"bertie.{room} needs torch, which is not installed: pip install 'bertie[torch]'"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {sentence}"


def test_what_needs_pytorch_is_listed_and_nothing_else() -> None:
    program = """
import importlib
for path in sys.argv[1:]:
    try:
        importlib.import_module("bertie." + path.replace("/", ".").removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        assert error.name == "torch", (path, error)
        said = "needs torch, which is not installed: pip install 'bertie[torch]'" in str(error)
        print(path, "" if said else "raw")
"""
    paths = [path.relative_to(SOURCE).with_suffix("").as_posix() for path in sorted(SOURCE.rglob("*.py"))]
    done = without_torch(program, *(path for path in paths if path != "__init__"))
    assert done.returncode == 0, done.stderr
    listed = {path for path in paths if {path, path.partition("/")[0]} & WITH_TORCH}
    found = dict(line.split(" ") for line in done.stdout.splitlines())
    assert set(found) == listed
    raw = {path.partition("/")[0] for path, how in found.items() if how}
    assert raw == IN_PART, "modules that fail without a sentence; the rooms of IN_PART need PyTorch only in parts"


def test_a_checkpoint_is_read_and_written(tmp_path: Path) -> None:
    weights = {"half": torch.randn(3, 4).bfloat16(), "whole": torch.randn(4)}
    save_file(weights, tmp_path / "model.safetensors")
    program = """
from bertie.checkpoints import open_checkpoint, write_checkpoint
folder, copy = sys.argv[1:]
checkpoint = open_checkpoint(folder)
assert {name: info.dtype for name, info in checkpoint.infos.items()} == {"half": "bfloat16", "whole": "float32"}
write_checkpoint(copy, {name: checkpoint.float32(name) for name in checkpoint.infos}, "{}")
"""
    done = without_torch(program, str(tmp_path), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    copied = open_checkpoint(tmp_path / "copy")
    assert all(torch.equal(copied.tensor(name), weight.float()) for name, weight in weights.items())


def test_a_bin_file_says_what_to_install(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    program = """
from bertie.checkpoints import open_checkpoint
open_checkpoint(sys.argv[1])
"""
    done = without_torch(program, str(tmp_path))
    assert done.stderr.strip().splitlines()[-1].endswith("which is not installed: pip install 'bertie[torch]'")


# pipelines

LONG = "The long road went on and on. " * 20
TEXTS = ["A cat sat on the mat.", "", "Café", LONG]
PAIRS = [{"text": "He opened the door.", "text_pair": "Then he left."}, {"text": "Why?", "text_pair": LONG}]
QUESTIONS = [{"question": "Who sat?", "context": "A cat sat on the mat."}, {"question": "Where?", "context": LONG}]
CHOICES = [{"prompt": "He took the train.", "choices": ["Soon he left.", "It rained.", LONG]}]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
# task, model class, fields of its config, options of the pipeline, what it is called with
ANSWERS = {
    "embed": ("embed", "BertModel", {}, {}, [TEXTS]),
    "embed in windows": ("embed", "BertModel", {}, {"windows": True, "normalize": True}, [TEXTS]),
    "features": ("feature-extraction", "BertModel", {}, {}, [TEXTS[:3]]),
    "fill-mask": ("fill-mask", "BertForMaskedLM", {}, {"top_k": 3}, ["A [MASK] sat on the [MASK]."]),
    "fill-mask of two heads": ("fill-mask", "BertForPreTraining", {}, {"targets": ["cat", "dog"]}, ["A [MASK] sat."]),
    "fill-mask, jointly": ("fill-mask", "BertForMaskedLM", {}, {"jointly": "confidence"}, ["A [MASK] [MASK]."]),
    "scores": ("score", "BertForMaskedLM", {}, {"variant": "word-l2r", "return_tokens": True}, [TEXTS]),
    "next-sentence": ("next-sentence", "BertForNextSentencePrediction", {}, {}, [PAIRS]),
    "classes": ("text-classification", "BertForSequenceClassification", {"num_labels": 3}, {"top_k": None}, [TEXTS]),
    "classes in windows": ("text-classification", "BertForSequenceClassification", {}, {"windows": True}, [TEXTS]),
    "free labels": (
        "zero-shot-classification",
        "BertForSequenceClassification",
        {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}},
        {},
        [TEXTS, ["cats", "roads"]],
    ),
    "free labels by vectors": ("zero-shot-similarity", "BertModel", {}, {"multi_label": True}, [TEXTS, "cats, roads"]),
    "several classes": (
        "text-classification",
        "BertForSequenceClassification",
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"thresholds": [0.5, 0.45, 0.4], "temperature": 1.7},
        [TEXTS],
    ),
    "a number": ("text-classification", "BertForSequenceClassification", {"num_labels": 1}, {}, [PAIRS]),
    "tags": ("ner", "BertForTokenClassification", {"num_labels": 5}, {"windows": True}, [TEXTS]),
    "entities": ("ner", "BertForTokenClassification", {}, {"aggregation_strategy": "max"}, [TEXTS]),
    "answers": ("question-answering", "BertForQuestionAnswering", {}, {"top_k": 2}, [QUESTIONS]),
    "choices": ("multiple-choice", "BertForMultipleChoice", {}, {"windows": True, "top_k": 3}, [CHOICES]),
    "goes on": ("text-generation", "BertLMHeadModel", {"is_decoder": True}, {"max_new_tokens": 5}, [TEXTS[::2]]),
    "beams": (
        "text2text-generation",
        "EncoderDecoderModel",
        {},
        {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 5},
        [TEXTS],
    ),
    "summaries": ("summarization", "EncoderDecoderModel", {}, {"max_length": 7}, [TEXTS[:1]]),
    "ranks": ("reranking", "BertForSequenceClassification", {"num_labels": 1}, {}, ["a cat", TEXTS]),
}
ANSWER = """
import bertie, json
task, folder, options, given = json.loads(sys.argv[1])
print(json.dumps(bertie.pipeline(task, folder, **options)(*given), default=lambda array: array.tolist()))
"""


def saved(folder: Path, words: Path, name: str = "BertModel", **config: Any) -> Path:
    """Save a small random model of a class, with the vocabulary of another."""
    torch.manual_seed(0)
    config = {**SHAPE, "max_position_embeddings": 64, "initializer_range": 0.3, **config}
    if name == "EncoderDecoderModel":
        halves = bertie.BertConfig(**config), bertie.BertConfig(**config)
        made: Any = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    else:
        made = bertie.BertConfig(**config)
    getattr(bertie, name)(made).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(words).save_pretrained(folder)
    return folder


def assert_alike(found: Any, wanted: Any) -> None:
    """Hold two answers to be the same, their numbers within 1e-5."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_alike(one, other)
    else:
        assert found == (pytest.approx(wanted, rel=1e-5, abs=1e-5) if isinstance(wanted, float) else wanted)


def assert_same_answers(task: str, folder: Path, options: dict[str, Any], given: list[Any]) -> None:
    done = without_torch(ANSWER, json.dumps([task, str(folder), options, given]))
    assert done.returncode == 0, done.stderr
    wanted = of_module(task, folder, **options)(*given)
    assert_alike(json.loads(done.stdout), json.loads(json.dumps(wanted, default=lambda array: array.tolist())))


@pytest.mark.parametrize("case", ANSWERS)
def test_pipelines_answer_as_with_pytorch(case: str, mini: Path, tmp_path: Path) -> None:
    task, name, config, options, given = ANSWERS[case]
    assert_same_answers(task, saved(tmp_path, mini, name, **config), options, given)


def test_every_pipeline_is_tried() -> None:
    assert {find(task).name for task, *_ in ANSWERS.values()} == {row.name for row in ROWS}


def test_real_models_answer_as_with_pytorch(mini: Path, minilm: Path) -> None:
    assert_same_answers("fill-mask", mini, {}, ["Paris is the capital of [MASK]."])
    assert_same_answers("embed", minilm, {}, [TEXTS])


def test_a_folder_with_layers_and_prompts(mini: Path, tmp_path: Path) -> None:
    folder, dense = saved(tmp_path / "model", mini), tmp_path / "dense"
    dense.mkdir()
    activation = "torch.nn.modules.activation.Tanh"
    config = {"in_features": 64, "out_features": 12, "bias": True, "activation_function": activation}
    (dense / "config.json").write_text(json.dumps(config))
    save_file({"linear.weight": torch.randn(12, 64), "linear.bias": torch.randn(12)}, dense / "model.safetensors")
    layers = (Layer("Dense", dense), Layer("Normalize"))
    recipe = Recipe(modes=("mean", "max"), layers=layers, prompts={"query": "find: "}, similarity="dot")
    write_recipe(folder, recipe, 32)
    assert_same_answers("embed", folder, {"prompt_name": "query"}, [TEXTS])


def test_a_search_index(mini: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path, mini)
    program = """
import bertie, json
index = bertie.SearchIndex(json.loads(sys.argv[2]), bertie.pipeline("embed", sys.argv[1]))
print(json.dumps(index.search("a cat")))
"""
    done = without_torch(program, str(folder), json.dumps(TEXTS))
    assert done.returncode == 0, done.stderr
    wanted = bertie.SearchIndex(TEXTS, of_module("embed", folder)).search("a cat")
    assert_alike(json.loads(done.stdout), [list(hit) for hit in wanted])


TOKENIZE = """
import bertie, json
folder, options, texts = json.loads(sys.argv[1])
print(json.dumps(bertie.AutoTokenizer.from_pretrained(folder, **options)(texts, return_tensors="np", padding=True),
    default=lambda values: values.tolist() if hasattr(values, "tolist") else dict(values)))
"""


@pytest.mark.parametrize("kind", ["fast", "legacy", "japanese"])
def test_tokenizers(kind: str, mini: Path, tmp_path: Path) -> None:
    folder, options, texts = mini, {"use_fast": kind != "legacy"}, TEXTS[:3]
    if kind == "japanese":
        pytest.importorskip("fugashi")
        pytest.importorskip("ipadic")
        folder, texts = tmp_path, ["猫が座る。", "本"]
        (folder / "vocab.txt").write_text(
            "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "猫", "が", "本", "。"])
        )
        config = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    done = without_torch(TOKENIZE, json.dumps([str(folder), options, texts]))
    assert done.returncode == 0, done.stderr
    wanted = bertie.AutoTokenizer.from_pretrained(folder, **options)(texts, return_tensors="np", padding=True)
    assert json.loads(done.stdout) == {name: values.tolist() for name, values in wanted.items()}


def test_estimators_that_were_fitted_predict(mini: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    saved(tmp_path, mini, "BertForSequenceClassification", id2label={0: "no", 1: "yes"})
    program = """
import bertie, json
folder, texts = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps(bertie.BertClassifier.from_pretrained(folder).predict_proba(texts).tolist()))
print(bertie.BertEmbedder(folder).fit_transform(texts).shape)
try:
    bertie.BertClassifier(folder).fit(texts, ["no", "yes", "no", "yes"])
except bertie.BertieError as error:
    print(error)
"""
    done = without_torch(program, str(tmp_path), json.dumps(TEXTS))
    assert done.returncode == 0, done.stderr
    found, shape, said = done.stdout.splitlines()
    wanted = of_module("text-classification", tmp_path, top_k=None)(TEXTS)
    scores = [{one["label"]: one["score"] for one in ranked} for ranked in wanted]
    assert_alike(json.loads(found), [[one["no"], one["yes"]] for one in scores])
    assert shape == "(4, 32)"
    assert said == "Fine-tuning needs torch, which is not installed: pip install 'bertie[torch]'"


def test_an_estimator_that_has_learned_is_unpickled_and_answers(mini: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    texts, labels = [f"{number} good films" for number in range(12)], ["no", "yes"] * 6
    fitted = bertie.BertClassifier(mini, epochs=1, show_progress=False).fit(texts, labels)
    (tmp_path / "fitted").write_bytes(pickle.dumps(fitted))
    program = """
import json, pickle
fitted = pickle.load(open(sys.argv[1], "rb"))
print(json.dumps([fitted.predict(sys.argv[2:]).tolist(), fitted.metrics_]))
"""
    done = without_torch(program, str(tmp_path / "fitted"), *texts[:3])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [fitted.predict(texts[:3]).tolist(), fitted.metrics_]
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (the pickle is our own)
    assert again.history_ == fitted.history_


# commands

MAIN = """
import bertie.cli
bertie.cli.main()
"""
TAGS = ["O", "B-person", "I-person", "B-place"]
MODELS = {
    "words": ("BertForPreTraining", {}),
    "classes": ("BertForSequenceClassification", {"id2label": {0: "negative", 1: "positive"}}),
    "score": ("BertForSequenceClassification", {"num_labels": 1}),
    "inference": ("BertForSequenceClassification", {"id2label": {0: "entailment", 1: "not_entailment"}}),
    "tags": ("BertForTokenClassification", {"id2label": dict(enumerate(TAGS))}),
    "spans": ("BertForQuestionAnswering", {}),
    "choices": ("BertForMultipleChoice", {}),
    "decoder": ("BertLMHeadModel", {"is_decoder": True}),
    "pair": ("EncoderDecoderModel", {}),
}
COMMANDS = [
    "embed -i texts.txt -m words",
    "embed -i reviews.csv --max-length 9 -o out.csv -m words",
    "search texts.txt cat -k 2 -m words",
    "fill-mask [MASK]! -m words",
    "next-sentence -i follows.csv --column text=sentence1 --column text_pair=sentence2 -m words",
    "fill-mask [MASK][MASK] --jointly left-to-right --target cat -m words",
    "score -i reviews.csv --variant word-l2r -o out.csv -m words",
    "classify -i reviews.csv -k 2 -o out.tsv -m classes",
    "classify -i reviews.csv --windows --max-length 8 --overlap 1 -m classes",
    "classify -i reviews.csv --labels film,book -o out.csv -m inference",
    "tag -i texts.txt -m tags",
    "tag -i entities.conll --to conll -m tags",
    "answer Who? --context texts.txt -m spans",
    "answer -i questions.json --to squad -m spans",
    "choose -i choices.jsonl -k 2 -m choices",
    "rerank passages.txt music --to csv -m score",
    "generate -i texts.txt --max-new-tokens 5 --full-text -m decoder",
    "generate -i reviews.csv --max-new-tokens 5 --num-beams 2 --num-return-sequences 2 -o out.csv -m pair",
    "train-tokenizer texts.txt --size 40 --min-frequency 1 --out out.words",
    "prepare texts.txt -t words --heldout 0 --workers 1 --out shards",
    "env --json",
    "version",
    "inspect classes",
    "inspect words --json",
    "evaluate fill-mask --data corpus.txt -m words",
    "evaluate next-sentence --data follows.csv -m words",
    "compare classes classes --task text-classification --data reviews.csv",
    "evaluate text-classification --data reviews.csv --windows --predictions out.jsonl -m classes",
    "evaluate token-classification --data entities.conll -m tags",
    "evaluate question-answering --data questions.json -m spans",
    "evaluate multiple-choice --data choices.jsonl -m choices",
    "evaluate embed --data pairs.csv -m words",
    "evaluate reranking --data relevance.csv -m score",
]


@pytest.fixture(scope="module")
def place(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models for every command, and files of texts and labelled rows."""
    folder = tmp_path_factory.mktemp("place")
    for name, (kind, config) in MODELS.items():
        saved(folder / name, mini, kind, **config)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_write_the_same(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    done = without_torch(MAIN, *line.split())
    assert done.returncode == 0, done.stderr
    written = taken(place)
    monkeypatch.setattr(sys, "argv", ["bertie", *line.split()])
    with pytest.raises(SystemExit):
        main()
    assert fixed(done.stdout) == fixed(capsys.readouterr().out)
    assert written == taken(place)
    assert done.stdout or any(written)


def fixed(shown: str) -> str:
    """Return what a command shows without the memory that other programs leave, which no two moments have in common."""
    return re.sub(r"[\d.]+ available", "", shown)


def taken(place: Path) -> list[str]:
    """Return the texts of the output files, also of those in folders, and remove all."""
    paths = sorted(place.glob("out.*"))
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.iterdir()))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    for path in paths:
        path.unlink() if path.is_file() else shutil.rmtree(path)
    return texts


SERVE = """
import json
from starlette.testclient import TestClient
from bertie.serving.served_model import ServedModel
from bertie.serving.server_process import make_service
from bertie.serving.service import Limits

_, app = make_service([ServedModel.open("words"), ServedModel.open("tags")], Limits())
with TestClient(app) as client:
    print(client.get("/info").json()["models"][1]["tasks"], client.get("/health").status_code)
"""


def test_models_are_served(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette")
    monkeypatch.chdir(place)
    done = without_torch(SERVE)
    assert done.stdout == "['token-classification', 'attention-weights'] 200\n", done.stderr


def test_a_graph_is_exported(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(place)
    done = without_torch(MAIN, "export", "onnx", "tags", str(tmp_path / "graph"))
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout)["difference"].values()) < 1e-5


@pytest.mark.parametrize(("to", "module"), [("h5", "h5py"), ("msgpack", "msgpack")])
def test_weights_are_converted(to: str, module: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(module)
    monkeypatch.chdir(place)
    for line in (f"convert classes {to} --to {to}", f"convert {to} {to}-again"):
        done = without_torch(MAIN, *line.split())
        assert done.returncode == 0, done.stderr
    weights = "model.safetensors"
    assert (place / f"{to}-again" / weights).read_bytes() == (place / "classes" / weights).read_bytes()


def test_commands_that_answer_are_all_tried() -> None:
    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {line.split()[0] for line in COMMANDS} == names - NEED_TORCH - {"demo", "serve", "convert", "export"}


# what is missing is said

NEED_TORCH = {
    "extend-vocabulary",
    "pretrain",
    "finetune",
    "average",
    "distil",
    "prune",
    "quantize",
    "dequantize",
    "bench",
}


@pytest.mark.parametrize(
    "line",
    [
        "finetune text-classification --train reviews.csv -m classes --out run",
        "pretrain --data shards --config mini --steps 1 --out run",
        "average classes classes --out mean",
        "distil classes --texts texts.txt --out small",
        "prune classes small --texts texts.txt --layers 1",
        "quantize classes small",
        "dequantize classes small",
        "export onnx classes graph --int8",
        "extend-vocabulary words texts.txt --out more",
        "bench -m classes -i texts.txt",
        "embed hello -m words --device cuda",
    ],
)
def test_commands_say_what_to_install(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    done = without_torch(MAIN, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    said = done.stderr.splitlines()[-1]
    assert said.startswith("bertie: ")
    assert said.endswith(" needs torch, which is not installed: pip install 'bertie[torch]'")


def test_public_names_say_what_to_install() -> None:
    program = """
import bertie, importlib.util
computed = 0
for name in bertie.__all__:
    try:
        getattr(bertie, name)
    except bertie.BertieError as error:
        assert str(error) == f"bertie.{name} needs torch, which is not installed: pip install 'bertie[torch]'", error
        computed += 1
print(computed)
"""
    done = without_torch(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_tensors_say_what_to_install(mini: Path) -> None:
    program = """
import bertie
tokenizer = bertie.BertTokenizer.from_pretrained(sys.argv[1])
for kind in ("pt", "packed"):
    try:
        tokenizer(["a"], return_tensors=kind)
    except bertie.BertieError as error:
        print(error)
"""
    done = without_torch(program, str(mini))
    assert done.stdout.splitlines() == [
        f"return_tensors={kind!r} needs torch, which is not installed: pip install 'bertie[torch]'"
        for kind in ("pt", "packed")
    ]


@pytest.mark.parametrize("name", ["BertConfig", "BertTokenizer", "AutoTokenizer", "BertieError"])
def test_public_names_that_compute_nothing(name: str) -> None:
    done = without_torch(f"import bertie; bertie.{name}")
    assert done.returncode == 0, done.stderr
