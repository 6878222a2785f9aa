"""``/generate`` gives the same texts as the pipelines, and stops when nobody waits."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.engine import Engine
from bertie.serving.scheduler import GoneError
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits, Service

Serve = Callable[..., Any]
PROMPTS = ["The garden was", "She opened the door and saw that the old man"]
CHOSEN = {"max_new_tokens": 5}


@pytest.mark.parametrize(("kind", "task"), [("writes", "text-generation"), ("pair", "text2text-generation")])
def test_generates_what_the_pipelines_generate(served: Serve, folders: dict[str, Path], kind: str, task: str) -> None:
    client = served("vectors", kind)
    pipe = bertie.pipeline(task, folders[kind], **CHOSEN)
    more = {"return_full_text": False} if kind == "writes" else {}
    for asked in ({}, {"num_beams": 3, "num_return_sequences": 2}, {"no_repeat_ngram_size": 1}):
        expected = [pipe([text], **more, **asked)[0] for text in PROMPTS]
        texts = [
            [one["generated_text"] for one in (answer if isinstance(answer, list) else [answer])] for answer in expected
        ]
        replies = client.post("/generate", json={"inputs": PROMPTS, "parameters": CHOSEN | asked}).json()
        assert [one["generated_text"] for one in replies] == [all_of[0] for all_of in texts]
        assert [one.get("generated_texts") for one in replies] == [
            all_of if len(all_of) > 1 else None for all_of in texts
        ]
        assert [one["truncated"] for one in replies] == [0, 0]
        alone = client.post("/generate", json={"inputs": PROMPTS[0], "parameters": CHOSEN | asked}).json()
        assert alone == replies[0]
    if kind == "writes":
        asked = {"inputs": PROMPTS[0], "parameters": CHOSEN}
        assert served(kind).post("/invocations", json=asked).json() == client.post("/generate", json=asked).json()


def test_seeded_samples_do_not_depend_on_other_requests(served: Serve) -> None:
    client = served("writes")

    def write(inputs: Any, seed: int) -> Any:
        parameters = CHOSEN | {"do_sample": True, "seed": seed, "return_full_text": True}
        return client.post("/generate", json={"inputs": inputs, "parameters": parameters}).json()

    one = write(PROMPTS[0], 1)
    assert one["generated_text"].startswith(PROMPTS[0])
    assert write(PROMPTS, 1)[0] == one
    assert len({write(PROMPTS[0], seed)["generated_text"] for seed in range(5)}) > 1


def test_truncation_and_missing_room_are_reported(served: Serve) -> None:
    pair, writes = served("pair"), served("writes")
    assert pair.post("/generate", json={"inputs": "word " * 100, "parameters": CHOSEN}).json()["truncated"] == 38
    mixed = writes.post("/generate", json={"inputs": ["a", "word " * 62], "parameters": CHOSEN})
    assert mixed.status_code == 422
    assert "at most 2 new tokens" in mixed.json()["error"]
    # without a length, as many as there are positions: for each text by itself
    open_end = writes.post("/generate", json={"inputs": ["a", "word " * 50]}).json()
    assert open_end[0] == writes.post("/generate", json={"inputs": "a"}).json()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"num_beams": 33}, "$.parameters.num_beams"),
        ({"stop": ["a"]}, "unknown field `stop`"),
        ({"num_return_sequences": 2}, "greedy decoding finds one"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": 0.5}, "temperature=0.5 has no effect without do_sample=True: add that, or leave it out."),
        ({"length_penalty": 2.0}, "length_penalty=2.0 has no effect without num_beams=4"),
    ],
)
def test_refusals(served: Serve, parameters: Any, says: str) -> None:
    reply = served("writes").post("/generate", json={"inputs": "a", "parameters": parameters})
    assert reply.status_code == 422
    assert says in reply.json()["error"]


def test_errors_name_json_fields_and_the_log_stays_empty(process: Callable[..., Any], folders: dict[str, Path]) -> None:
    running = process(str(folders["writes"]), "--no-log-requests")
    reply = running.post("/generate", {"inputs": "a", "parameters": {"length_penalty": 2.0}})
    assert reply.json()["error"].startswith("length_penalty=2.0 has no effect without num_beams=4")
    assert running.end() == (0, "")


def test_mismatched_models_and_requests_are_refused(served: Serve) -> None:
    assert (
        served("vectors").post("/generate", json={"inputs": "a"}).json()["error"]
        == "model is not a model that writes texts"
    )
    pair = served("pair")
    assert pair.get("/info").json()["models"][0]["layers"] == 1
    assert "`stream` is true" in pair.post("/generate", json={"inputs": "a", "stream": True}).json()["error"]
    asked = {"inputs": "a", "parameters": {"return_full_text": True}}
    assert "is for decoders" in pair.post("/generate", json=asked).json()["error"]


def test_generation_stops_when_the_client_disconnects(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that would generate for ever does not block others, counts as healthy, and stops with its request."""
    ends: list[BaseException] = []

    def write_for_ever(engine: Engine, rows: Any, options: Any) -> Any:
        try:
            while True:
                options["logits_processor"][0](None, None)
        except BaseException as error:
            ends.append(error)
            raise

    monkeypatch.setattr(Engine, "generate", write_for_ever)

    async def run() -> None:
        models = [ServedModel.open(str(folders[kind])) for kind in ("writes", "vectors")]
        service = Service(models, Limits())
        asked = [asyncio.ensure_future(service.answer(models[0], "generate", [text])) for text in PROMPTS * 4]
        await service.answer(models[1], "embed", ["a"])
        while models[0].queue.last_step < 0:
            await asyncio.sleep(0.001)
        await service.check_health()
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        service.close()

    asyncio.run(run())
    assert ends
    assert all(isinstance(error, GoneError) for error in ends)
