"""Each command on real models: what it writes, and how it fails."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.errors import CheckpointError
from bertie.pipelines import stored_vectors

Run = Callable[..., Any]
BERTIE = [sys.executable, "-c", "from bertie.cli import main; main()"]


@pytest.mark.parametrize("argument", ["--help", "--version", "embed --help"])
def test_help_and_version_import_no_torch(argument: str) -> None:
    code = (
        "import sys; from bertie.cli import main\n"
        f"sys.argv = ['bertie', *{argument.split()!r}]\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "assert not {'torch', 'numpy', 'tokenizers'} & set(sys.modules), 'too much is imported'\n"
    )
    start = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert time.perf_counter() - start < 5
    assert (bertie.__version__ if argument == "--version" else "Usage: bertie") in ran.stdout


def test_help_is_fast_and_complete_on_a_narrow_terminal() -> None:
    code = (
        "import sys; from bertie.cli import main\n"
        "sys.argv = ['bertie', 'finetune', '--help']\n"
        "try: main()\n"
        "except SystemExit: print('rich' in sys.modules)\n"
    )
    narrow = {**os.environ, "COLUMNS": "80"}
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=narrow)
    *lines, rich = ran.stdout.splitlines()
    assert rich == "False"
    assert max(map(len, lines)) <= 80
    for option in ("--learning-rate, --lr", "--label-smoothing", "--tensorboard"):
        assert option in ran.stdout


def test_shell_completion() -> None:
    asked = {"_BERTIE_COMPLETE": "complete_bash", "COMP_WORDS": "bertie em", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['bertie']; from bertie.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert ran.stdout.split() == ["embed"]


def test_env(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTIE_API_KEYS", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run("version").out == f"bertie {bertie.__version__}\n"
    (found,) = run("env", "--json").records
    assert found["bertie"].startswith(f"{bertie.__version__} in ")
    assert f"torch {torch.__version__.partition('+')[0]}" in found["packages"]
    assert list(found) == [line.split()[0] for line in run("env").out.splitlines()]
    assert {"processor", "kernels", "memory", "gpu"} <= set(found)
    assert re.fullmatch(r"[\d.]+ GiB(, of which [\d.]+ available)?", found["memory"])
    assert ("OMP_NUM_THREADS=1" in found["settings"], "secret" in str(found)) == (True, False)


def test_commands_are_imported_lazily() -> None:
    code = (
        "import sys; from bertie.cli import main\n"
        "sys.argv = ['bertie', 'embed', 'a text']\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "others = {'bertie.cli.finetune', 'bertie.cli.passages', 'bertie.data', 'bertie.settings'}\n"
        "more = {'torch', 'pydantic', 'rich', 'huggingface_hub'} | others\n"
        "assert not more & set(sys.modules), more & set(sys.modules)\n"
    )
    assert json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)["embedding"]


def test_embed_in_fewer_bytes(run: Run, tmp_path: Path) -> None:
    texts, path = ["A cat.", "A dog.", "Rain fell."], tmp_path / "bits.npy"
    ran = run("embed", *texts, "--output", path, "--precision", "ubinary", "--truncate-dim", 64)
    assert (ran.code, np.load(path).shape, np.load(path).dtype) == (0, (3, 8), np.uint8)
    assert (np.load(path) == np.packbits(bertie.pipeline("embed")(texts)[:, :64] > 0, axis=1)).all()
    for options, message in (
        (["--precision", "int5", "--output", path], "--precision is 'int5'; it must be one of"),
        (["--precision", "int8"], "--precision int8 is only for vectors written as one array; add --output FILE.npy."),
        (["--truncate-dim", 385], "--truncate-dim is 385; allowed are 1 to 384"),
    ):
        ran = run("embed", *texts, *options)
        assert ran.code == 2
        assert message in ran.err


def test_embed(run: Run, tmp_path: Path) -> None:
    texts = ["hello world", "", "x " * 300]
    ran = run("embed", stdin="\n".join(texts))
    assert ran.code == 0
    expected = bertie.pipeline("embed")(texts)
    assert [record["text"] for record in ran.records] == texts
    vectors = np.array([record["embedding"] for record in ran.records], dtype=np.float32)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert [(one.get("empty"), one.get("truncated")) for one in ran.records] == [(None, None), (True, None), (None, 46)]
    assert "1 of 3 texts was longer than 256 tokens" in ran.err
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"old")
    assert run("embed", *texts, "--output", path, "--seed", 1, "--batch-tokens", 64, "--device", "cpu").code == 0
    np.testing.assert_allclose(np.load(path), expected, atol=1e-6)
    assert [entry.name for entry in tmp_path.iterdir()] == ["vectors.npy"]


def test_numbers_are_the_float32_values() -> None:
    from bertie.cli.writing import shortest_floats

    vector = torch.randn(50).numpy()
    read = json.loads(json.dumps(shortest_floats(vector)))
    assert np.array_equal(np.array(read, dtype=np.float32), vector)


def test_search(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The cat sleeps.\nStocks fell. Bonds rose.\n\nIt rained\nall day.\n")
    first, second = run("search", path, "bad weather", "share prices", "-k", 1).records
    assert first == {"question": "bad weather", "rank": 1, "score": first["score"], "line": 4, "text": "It rained"}
    assert second["text"] == "Stocks fell. Bonds rose."
    table = run("search", path, "bad weather", "-k", 1, "--to", "csv").out
    assert table.splitlines()[0] == "question,rank,score,line,text"  # no columns of other commands
    by = run("search", path, "--by", "sentence", "--top-k", 2, stdin="bad weather\n").records
    assert (by[0]["text"], by[0]["rank"], by[1]["rank"]) == ("It rained all day.", 1, 2)
    assert by[0]["score"] > by[1]["score"]
    path.write_text("\n\n")
    ran = run("search", path, "anything")
    assert (ran.code, ran.err) == (2, f"bertie: The file {str(path)!r} has no text to search.\n")


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl"])
def test_search_finds_sentences_within_rows_and_names_their_lines(run: Run, tmp_path: Path, name: str) -> None:
    rows = [("a", "Stocks fell. The cat\nsleeps"), ("b", "Mr. Fox ran. It rained"), ("c", "")]
    with (path := tmp_path / name).open("w", newline="") as file:
        if name.endswith("csv"):
            csv.writer(file).writerows([("id", "text"), *rows])
        else:
            file.writelines(json.dumps({"id": number, "text": text}) + "\n" for number, text in rows)
    ran = run("search", path, "a pet", "--by", "sentence", "-k", 9).records
    found = {record["text"]: (record["id"], record["line"]) for record in ran}
    first, second = (2, 4) if name.endswith("csv") else (1, 2)
    assert found == {
        "Stocks fell.": ("a", first),
        "The cat sleeps": ("a", first),
        "Mr. Fox ran.": ("b", second),
        "It rained": ("b", second),
    }
    assert {record["line"] for record in run("search", path, "a pet").records} == {first, second}


def test_search_names_the_line_in_which_a_sentence_of_running_text_begins(run: Run, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("The cat\n  sleeps. It\u00a0rained all\nday. Stocks\n\nfell\n")
    ran = run("search", tmp_path / "one.txt", "a pet", "--by", "sentence", "-k", 9).records
    assert {record["text"]: record["line"] for record in ran} == {
        "The cat sleeps.": 1,
        "It rained all day.": 2,
        "Stocks": 3,
        "fell": 5,
    }
    both = run("search", tmp_path, "fell", "-k", 2).records
    assert {(record["file"], record["line"]) for record in both} == {
        (str(tmp_path / name), 5) for name in ("one.txt", "two.txt")
    }


def test_fill_mask(run: Run, mini: Path) -> None:
    (record,) = run("fill-mask", "-m", mini, "Paris is the capital of [MASK].", "--top-k", 2).records
    assert record["text"] == "Paris is the capital of [MASK]."
    assert [one["token_str"] for one in record["candidates"]] == ["paris", "france"]


def test_next_sentence(run: Run, mini: Path) -> None:
    pair = ("Where's Black Dog?", '"There is no Black Dog here," said the doctor.')
    (record,) = run("next-sentence", "-m", mini, *pair).records
    assert (record["text"], record["text_pair"]) == pair
    again = run(
        "next-sentence", "-m", mini, "--format", "jsonl", stdin=json.dumps({"text": pair[0], "text_pair": pair[1]})
    )
    assert again.records == [record]
    assert 0 < record["score"] < 1


def test_masked_words_and_next_sentences_need_no_model(run: Run) -> None:
    (record,) = run("fill-mask", "She opened the [MASK] and walked into the garden.", "-k", 1).records
    assert record["candidates"][0]["token_str"] == "door"
    (record,) = run("next-sentence", "Where is he?", "He is here.").records
    assert record.keys() == {"text", "text_pair", "is_next", "score"}


@pytest.fixture
def classifier(minilm: Path, tmp_path: Path) -> Path:
    labels = {0: "bad\x1b[31m", 1: "good"}
    config = bertie.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, id2label=labels
    )
    bertie.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_classify(run: Run, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text("id,review\n1,fine\n2,dull\n")
    ran = run("classify", "-m", classifier, "-i", path, "--column", "review")
    assert [record["review"] for record in ran.records] == ["fine", "dull"]
    assert all(list(record) == ["id", "review", "label", "score"] for record in ran.records)
    (both,) = run("classify", "-m", classifier, "fine", "-k", 2).records
    assert {one["label"] for one in both["labels"]} == {"bad\x1b[31m", "good"}


def test_41_control_characters_in_labels_and_texts_are_escaped(run: Run, classifier: Path) -> None:
    ran = run("classify", "-m", classifier, "-k", 2, "a \x1b[2J \x9b b")
    assert "\x1b" not in ran.out
    assert "\x9b" not in ran.out
    assert ran.records[0]["text"] == "a \x1b[2J \x9b b"  # but the JSON has the original text
    shown = run("inspect", classifier)
    assert "\x1b" not in shown.out
    assert r"bad\u001b[31m, good" in shown.out
    broken = run("embed", "-m", "no\x1b[31msuch", "a")
    assert broken.code == 2
    assert "\x1b" not in broken.err


def test_inspect(run: Run, mini: Path, minilm: Path) -> None:
    (found,) = run("inspect", mini, "--json").records
    assert found["heads"] == ["pooler", "masked words", "next sentence"]
    model = bertie.BertForPreTraining.from_pretrained(mini)
    assert (found["parameters"], found["dtype"]) == (model.num_parameters(), "float16")
    assert found["classes"]["BertForPreTraining"] == {"missing": [], "unused": 0}
    assert found["classes"]["BertForTokenClassification"]["missing"] == ["classifier.bias", "classifier.weight"]
    text = run("inspect", minilm).out
    for line in ("mean, length 1, reads 256 tokens", "22,713,216 parameters", "BertForMaskedLM", "to be trained first"):
        assert line in text


def test_inspect_a_damaged_model(run: Run, classifier: Path) -> None:
    (classifier / "model.safetensors").write_bytes(b"\xff" * 100)
    ran = run("inspect", classifier)
    assert ran.code == 2
    assert "weights    PROBLEM:" in ran.out
    assert run("inspect", classifier / "none").err.startswith("bertie: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "a"], "bertie: 'text-classification' has no default model"),
        (["embed", "-i", "none.txt"], "bertie: The file 'none.txt' cannot be read: No such file"),
        (["embed", "a", "-m", "./none"], "bertie: there is no folder './none'"),
        (["embed", "a", "--prompt-name", "query"], "bertie: The model has no prompt 'query'"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(run: Run, arguments: list[str], message: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == 1


def test_a_mistyped_option_or_command_is_code_2(run: Run) -> None:
    assert run("embd").code == 2
    ran = run("embed", "a", "--batch-tokens", "0")
    assert ran.code == 2
    assert "--batch-tokens" in ran.err


def test_a_closed_pipe_is_quiet() -> None:
    program = subprocess.Popen([*BERTIE, "embed"], stdin=-1, stdout=-1, stderr=-1)
    assert program.stdin is not None
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdin.write(b"a line\n" * 200)
    program.stdin.close()
    program.stdout.read(10)
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait(60) in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["--version"], ["embed", *["a text"] * 20]])
def test_a_full_disk_is_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run([*BERTIE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert ran.stderr.startswith("bertie: ")


def test_an_unwritable_output_is_refused_before_the_work(run: Run, tmp_path: Path) -> None:
    # reading would find that the text is not UTF-8
    (tmp_path / "a.txt").write_bytes(b"\xff")
    for output, message in ((tmp_path, "it is a folder"), (tmp_path / "none" / "x.npy", "make the folder first")):
        ran = run("embed", "--input", tmp_path / "a.txt", "--output", output)
        assert ran.code == 2
        assert message in ran.err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_is_quiet_and_130() -> None:
    program = subprocess.Popen([*BERTIE, "embed"], stdin=-1, stdout=-1, stderr=-1)
    time.sleep(3)  # until it waits for its input
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert (program.returncode, err) == (130, b"")


def test_full_text_is_refused_for_encoder_decoders(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "encoder-decoder"}')
    done = run("generate", "a", "--model", tmp_path, "--full-text")
    assert done.code == 2
    assert done.err == "bertie: --full-text is for decoders, and this model is an encoder-decoder: leave it out.\n"


def test_search_keeps_an_index_and_searches_rows_with_a_value(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(
        "source,stars,text\npeps,1,the cat sleeps\nmail,2,stocks fell\npeps,2,a kitten naps\nmail,1,the cat sleeps\n"
    )
    first = run("search", path, "a pet", "-k", 4).records
    assert (tmp_path / ".notes.csv.index" / "line" / "index.json").is_file()
    again = run("search", path, "a pet", "-k", 4)
    assert (again.code, again.records) == (0, first)
    assert run("search", path, "a pet", "-k", 4, "--no-index").records == first
    mail = run("search", path, "a pet", "--where", "source=mail").records
    assert [(record["source"], record["line"]) for record in mail] == [("mail", 5), ("mail", 3)]
    assert [
        one["line"] for one in run("search", path, "a", "--where", "source=mail", "--where", "stars=2").records
    ] == [3]
    assert run("search", path, "a pet", "--where", "source=nobody").records == []
    for given, says in (
        ("sourc=mail", "which no row has; there are 'source', 'stars', 'text'"),
        ("mail", "COLUMN=VALUE"),
    ):
        ran = run("search", path, "a pet", "--where", given)
        assert ran.code == 2
        assert says in ran.err
    kept = run("search", path, "a pet", "--by", "sentence", "--index", tmp_path / "kept")
    assert kept.code == 0
    assert (tmp_path / "kept" / "index.json").is_file()
    assert run("search", path, "a", "--index", tmp_path / "kept", "--no-index").code == 2
    by_bits = run("search", path, "a pet", "-k", 4, "--precision", "binary", "--rescore-multiplier", 1)
    assert (by_bits.code, by_bits.records) == (0, first)


def test_an_unwritable_index_suggests_no_index(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("the cat sleeps\n")

    def full(folder: Path) -> None:
        raise CheckpointError(f"cannot write {str(folder)!r}: no space is left")

    monkeypatch.setattr(stored_vectors, "only_process_in", full)
    ran = run("search", path, "a pet")
    assert ran.code == 2
    assert ran.err.endswith("no space is left. With --no-index, no vectors are kept.\n")


def test_search_in_a_read_only_folder_keeps_no_index(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notes.txt").write_text("the cat sleeps\n")
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    ran = run("search", tmp_path / "notes.txt", "a pet")
    assert (ran.code, len(ran.records)) == (0, 1)
    assert "is read-only: vectors are not kept" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
