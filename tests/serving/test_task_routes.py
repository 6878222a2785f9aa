"""bertie's own routes answer as its pipelines do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie

Serve = Callable[..., Any]
TEXT = "Ada Lovelace met Charles Babbage in London."
LONG = "She went on. " * 40


def alike(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same, their numbers within 1e-5."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(alike(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return found == (pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted)


def test_tag(served: Serve, folders: dict[str, Path]) -> None:
    client = served("tags")
    reply = client.post("/tag", json={"inputs": [TEXT, LONG + TEXT]}).json()
    tagger = bertie.pipeline("ner", folders["tags"], aggregation_strategy="simple", windows=True)
    for found, wanted, text in zip(reply, tagger([TEXT, LONG + TEXT]), (TEXT, LONG + TEXT), strict=True):
        assert alike(found["entities"], wanted)
        assert found["truncated"] == 0, "long texts are read in windows"
        assert all(text[one["start"] : one["end"]] for one in found["entities"])
    cut = client.post("/tag", json={"inputs": LONG + TEXT, "windows": False}).json()
    assert cut["truncated"] > 0
    words = client.post("/tag", json={"inputs": [TEXT.split()], "aggregation_strategy": "first"}).json()
    wanted = bertie.pipeline("ner", folders["tags"], aggregation_strategy="first")([TEXT.split()])
    assert alike(words[0]["entities"], wanted[0])
    assert client.post("/tag", json={"inputs": [TEXT, TEXT.split()]}).status_code == 422


def test_answer(served: Serve, folders: dict[str, Path]) -> None:
    client = served("spans")
    reply = client.post("/answer", json={"question": "Who?", "context": LONG + TEXT, "top_k": 2}).json()
    wanted = bertie.pipeline("question-answering", folders["spans"], top_k=2)(
        {"question": "Who?", "context": LONG + TEXT}
    )
    assert alike(reply["answers"], wanted)
    several = client.post("/answer", json={"inputs": [{"question": "Who?", "context": TEXT}] * 2}).json()
    assert several[0] == several[1]
    assert len(several[0]["answers"]) == 1
    assert client.post("/answer", json={"question": "Who?", "context": ""}).status_code == 422
    assert "Give `question` and `context`" in client.post("/answer", json={"question": "Who?"}).json()["error"]


def test_fill_mask_and_next_sentence(served: Serve, folders: dict[str, Path]) -> None:
    client = served("words")
    fill = bertie.pipeline("fill-mask", folders["words"])
    one, two = "A [MASK] sat.", "A [MASK] sat on a [MASK]."
    reply = client.post("/fill-mask", json={"inputs": [one, two], "top_k": 3}).json()
    assert alike([answer["masks"] for answer in reply], [[fill(one, top_k=3)], fill(two, top_k=3)])
    named = client.post("/fill-mask", json={"inputs": one, "targets": ["cat", "dog"]}).json()
    assert {found["token_str"] for found in named["masks"][0]} == {"cat", "dog"}
    assert "has no [MASK] to fill" in client.post("/fill-mask", json={"inputs": "A cat."}).json()["error"]
    other = client.post("/fill-mask", json={"inputs": one, "targets": ["cat", "privateword"]})
    assert (other.status_code, "contains 'privateword'" in other.json()["error"]) == (422, True)
    assert client.post("/fill-mask", json={"inputs": two, "top_k": 10_001}).status_code == 422
    follows = bertie.pipeline("next-sentence", folders["words"])
    pairs = [["He left.", "It rained."], ["Why?", "So."]]
    reply = client.post("/next-sentence", json={"inputs": pairs}).json()
    assert alike(reply, [answer | {"truncated": 0} for answer in follows([tuple(pair) for pair in pairs])])
    assert client.post("/next-sentence", json={"inputs": pairs[0]}).json() == reply[0]
    assert client.post("/next-sentence", json={"inputs": [["alone"]]}).status_code == 422


def test_choose(served: Serve, folders: dict[str, Path]) -> None:
    client = served("choices")
    prompt = {"prompt": "He took the train.", "choices": ["Soon he left.", "It rained.", "So."]}
    reply = client.post("/choose", json=prompt).json()
    wanted = bertie.pipeline("multiple-choice", folders["choices"], top_k=None)(inputs=prompt)
    assert alike(reply["choices"], wanted)
    both = client.post("/choose", json={"inputs": [prompt, {"prompt": "a", "choices": ["b"]}]}).json()
    assert alike(both[0], reply)
    assert len(both[1]["choices"]) == 1
    assert "no choices" in client.post("/choose", json={"prompt": "a", "choices": []}).json()["error"]
    many = served("choices", inputs=3).post("/choose", json={"prompt": "a", "choices": ["b"] * 4})
    assert many.json()["error"] == "batch size 4 > maximum allowed batch size 3"
    assert "multiple-choice" not in client.post("/tag", json={"inputs": "a"}).json()["error"]


def test_embed_spans(served: Serve, folders: dict[str, Path]) -> None:
    """A span's vector is the mean of its tokens' vectors, computed here by the model itself in one pass."""
    client = served("vectors")
    text = "Ada Lovelace met Charles Babbage. She wrote about unaffability."
    spans = [[0, 33], [34, 63], [0, 63], [52, 56]]
    words, model = (
        bertie.AutoTokenizer.from_pretrained(folders["vectors"]),
        bertie.BertModel.from_pretrained(folders["vectors"]),
    )
    row = words(text, return_offsets_mapping=True, return_tensors="pt")
    offsets = row.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        states = model.eval()(**row).last_hidden_state[0].numpy()
    expected = [states[[begin < stop and end > start for begin, end in offsets]].mean(axis=0) for start, stop in spans]
    body = {"inputs": text, "spans": spans, "normalize": False}
    reply = client.post("/embed_spans", json=body)
    np.testing.assert_allclose(reply.json()["vectors"], expected, atol=1e-5)
    assert reply.json()["truncated"] == 0
    raw = client.post("/embed_spans", json=body, headers={"accept": "application/octet-stream"})
    assert raw.headers["x-shape"] == "4,16"
    assert np.linalg.norm(
        client.post("/embed_spans", json=body | {"normalize": True, "dimensions": 8}).json()["vectors"][0]
    ) == pytest.approx(1)


def test_embed_spans_of_a_long_text(served: Serve, folders: dict[str, Path]) -> None:
    """Nothing is truncated, and a text in windows gets the pipeline's vector of its windows."""
    client, text = served("vectors"), LONG + TEXT
    reply = client.post(
        "/embed_spans", json={"inputs": text, "spans": [[len(LONG), len(text)], [0, 3]], "normalize": False}
    )
    assert reply.json()["truncated"] == 0
    last, first = reply.json()["vectors"]
    assert last != pytest.approx(first)
    assert reply.headers["x-truncated-tokens"] == "0"


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ([], "`spans` cannot be empty"),
        ([[3, 3]], "Span 0 is [3, 3]"),
        ([[0, 2], [0, 99]], "Span 1 is [0, 99]; in a text of 43 characters"),
        ([[3, 4]], "Span 0, of 1 characters, contains no token"),
        ([[0]], "$.spans[0]"),
        ([[0, 3]] * 70_000, "The answer would have 1120000 numbers"),
    ],
)
def test_invalid_spans(served: Serve, spans: Any, says: str) -> None:
    client = served("vectors", numbers=1 << 20)
    reply = client.post("/embed_spans", json={"inputs": TEXT, "spans": spans})
    assert reply.status_code in (400, 422)
    assert says in reply.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tag", {"inputs": TEXT, "agregation_strategy": "max"}),
        ("/tag", {"inputs": TEXT, "parameters": {"aggregation_strategy": "max"}}),
        ("/answer", {"question": "a", "context": "b", "topk": 2}),
        ("/fill-mask", {"inputs": "[MASK]", "target": "a"}),
        ("/next-sentence", {"inputs": ["a", "b"], "truncate": True}),
        ("/choose", {"prompt": "a", "choices": ["b", "c"], "top_k": 1}),
        ("/embed_spans", {"inputs": TEXT, "spans": [[0, 3]], "dimension": 2}),
        ("/attention", {"inputs": TEXT, "heads": 1}),
    ],
)
def test_a_field_without_effect_is_refused(served: Serve, path: str, body: Any) -> None:
    reply = served("tags").post(path, json=body)
    assert (reply.status_code, reply.json()["error"]) == (
        422,
        f"The request has the wrong shape: Object contains unknown field `{list(body)[-1]}`.",
    )


def test_a_field_without_effect_is_refused_in_a_batch(served: Serve) -> None:
    for path, one, field in (
        ("/answer", {"question": "a", "context": "b", "top_k": 2}, "top_k"),
        ("/choose", {"prompt": "a", "choices": ["b", "c"], "model": "d"}, "model"),
    ):
        reply = served("tags").post(path, json={"inputs": [one]})
        assert reply.status_code == 422
        assert f"unknown field `{field}`" in reply.json()["error"]


def test_attention(served: Serve, folders: dict[str, Path]) -> None:
    client = served("tags", "words")
    reply = client.post("/attention", json={"inputs": TEXT, "head": 1}).json()
    tokens = bertie.BertTokenizer.from_pretrained(folders["tags"]).tokenize(TEXT)
    assert reply["tokens"] == ["[CLS]", *tokens, "[SEP]"]
    ids = bertie.BertTokenizer.from_pretrained(folders["tags"])(TEXT, return_tensors="pt")
    model = bertie.BertForTokenClassification.from_pretrained(folders["tags"]).eval()
    wanted = model(**ids, output_attentions=True).attentions[0][0, 1].tolist()
    np.testing.assert_allclose(reply["weights"], wanted, atol=1e-4)
    assert client.post("/attention", json={"inputs": LONG * 9}).json()["truncated"] > 0
    words = client.post("/attention", json={"inputs": "A [MASK] sat.", "model": "words"}).json()
    assert words["tokens"][2] == "[MASK]"
    refused = client.post("/attention", json={"inputs": TEXT, "layer": 1})
    assert refused.status_code == 422
    assert refused.json()["error"] == "layer is 1; the model has 0 to 0."


def test_attention_needs_the_engine(served: Serve, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.pipelines.engines.why_not_engine", lambda *_: "a GPU is faster")
    refused = served("tags").post("/attention", json={"inputs": TEXT})
    assert refused.json()["error"] == "model is not computed by the engine, which alone gives attention weights"
