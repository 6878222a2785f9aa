"""A pretraining, from prepared data to a folder that bertie and transformers open; the same after every stop."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.errors import InputError, Stopped
from bertie.pretraining import pretrain as module
from bertie.pretraining.preparation import prepare
from bertie.pretraining.pretrain import Pretrained, pretrain
from bertie.pretraining.pretraining_learner import PretrainingLearner
from bertie.pretraining.recipe import Recipe
from bertie.pretraining.shards import TOKENIZER, Corpus
from bertie.settings import Settings
from bertie.tasks.masking import Masking
from bertie.training import drawing
from bertie.training.sampler import Sampler
from bertie.training.schedule import rate_factor

CONFIG = {
    "model_type": "bert",
    "vocab_size": 800,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
STEPS: dict[str, Any] = {"steps": 8, "batch_tokens": 300, "learning_rate": 1e-3, "evaluate_every": 4, "log_every": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a book in documents of eight paragraphs, a tenth of them held out."""
    texts = book_texts()[:500]
    documents = [" ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    tokenizer = bertie.BertTokenizer().train_new_from_iterator(documents, 800)
    folder = tmp_path_factory.mktemp("data")
    prepare(documents, tokenizer, folder, heldout=0.1)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "why_no_plots", lambda: "it takes long")


def recipe(data: Path, out: Path, **given: Any) -> Recipe:
    settings = Settings(**STEPS | given.pop("settings", {}))
    start = {} if "start" in given else {"config": str(data / "config.json")}
    return Recipe(data=data, out=out, settings=settings, **{"length": (32,), **start, **given})


def run(data: Path, out: Path, **given: Any) -> Pretrained:
    found = pretrain(recipe(data, out, **given))
    assert found is not None
    return found


def test_bertie_and_transformers_open_the_folder(data: Path, tmp_path: Path) -> None:
    found = run(data, tmp_path / "run")
    assert found.metrics is not None
    assert set(found.metrics) == {"loss", "accuracy", "next_sentence_accuracy"}
    theirs, loading = transformers.BertForPreTraining.from_pretrained(tmp_path / "run", output_loading_info=True)
    assert not any(loading.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    inputs = tokenizer("The captain went", "to the sea.", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [found.tokenizer("The captain went", "to the sea.")["input_ids"]]
    with torch.inference_mode():
        ours, reference = found.model(**inputs), theirs.eval()(**inputs)
    torch.testing.assert_close(ours.prediction_logits, reference.prediction_logits)
    torch.testing.assert_close(ours.seq_relationship_logits, reference.seq_relationship_logits)
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert report.startswith(f"# Pretraining: loss {found.metrics['loss']:.3f} on documents held out\n")
    assert "8 steps in" in report
    assert "% model FLOP utilization" in report
    assert "The loss of the last steps is the sum of masked_lm " in report
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert all(line["mfu"] > 0 for line in steps)
    assert all(line["masked_lm_loss"] + line["next_sentence_loss"] == pytest.approx(line["loss"]) for line in steps)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["tokens"] == lines[-2]["tokens"] > 8 * 150
    answers = bertie.pipeline("fill-mask", model=str(tmp_path / "run"))(f"The {tokenizer.mask_token} went to sea.")
    assert len(answers) == 5
    answer = bertie.pipeline("next-sentence", model=str(tmp_path / "run"))([("It rained.", "We stayed.")])
    assert set(answer[0]) == {"is_next", "score"}


def test_losses_and_weights_are_those_of_a_plain_loop(data: Path, tmp_path: Path) -> None:
    """The reference's model on the same examples in the same order, with PyTorch's AdamW and the same rates."""
    settings = {"schedule": "wsd", "cooldown": 0.5, "batch_warmup": 3, "seed": 5, "precision": "fp32"}
    found = run(data, tmp_path / "run", dropout=0.0, masking=Masking(0.25), settings=settings)
    torch.manual_seed(5)
    model = bertie.BertForPreTraining(bertie.BertConfig(**CONFIG))
    shape = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    reference = transformers.BertForPreTraining(transformers.BertConfig(**CONFIG | shape))
    reference.load_state_dict(model.state_dict(), strict=False)  # the decoder is tied
    learner = PretrainingLearner(model, Corpus(data), found.tokenizer, length=32, masking=Masking(0.25), seed=5)
    sampler = Sampler(learner.sizes, 5, None, 300, 3)
    decaying = [each for each in reference.parameters() if each.dim() > 1]
    still = [each for each in reference.parameters() if each.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decaying, "weight_decay": 0.01}, {"params": still, "weight_decay": 0.0}])
    losses = []
    for step in range(8):
        batch = learner.batch(sampler.examples(step).tolist())
        packed = bertie.Packed.from_flat(batch.features.ids, batch.features.lengths, batch.features.types)
        loss = reference(
            input_ids=packed.pad(packed.input_ids),
            token_type_ids=packed.pad(packed.token_type_ids),
            attention_mask=packed.pad(torch.ones_like(packed.input_ids)),
            labels=packed.pad(torch.from_numpy(batch.labels), fill=-100),
            next_sentence_label=torch.from_numpy(batch.follows),
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate_factor(step, 8, 1, "wsd", 0.5)
        optimizer.step()
        losses.append(loss.item())
    assert [record["loss"] for record in found.history.records if "loss" in record] == pytest.approx(losses, abs=1e-5)
    # the bias of a key has no gradient but rounding, which Adam makes steps of
    for name, expected in reference.named_parameters():
        if not name.endswith("key.bias"):
            torch.testing.assert_close(found.model.get_parameter(name), expected, atol=2e-5, rtol=0, msg=name)


def weights(found: Pretrained) -> dict[str, Tensor]:
    return dict(found.model.named_parameters())


@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_stopped_run_is_resumed_to_the_same_weights(
    data: Path, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both phases, and in the evaluations between; with dropout."""
    given: dict[str, Any] = {"length": (16, 48), "settings": {"steps": 10, "save_every": 1}}
    whole = run(data, tmp_path / "whole", **given)
    plain, steps = PretrainingLearner.loss, iter(range(100))

    def stopping(self: PretrainingLearner, examples: Any) -> Tensor:
        if next(steps) == at:
            raise Stopped("as if killed", 9)
        return plain(self, examples)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingLearner, "loss", stopping)
        with pytest.raises(Stopped):
            pretrain(recipe(data, tmp_path / "half", **given))
    resumed = run(data, tmp_path / "half", resume=True, **given)
    assert resumed.history.phases == whole.history.phases == [0, 9]
    assert all(torch.equal(each, weights(whole)[name]) for name, each in weights(resumed).items())


def test_continuing_from_a_model_of_the_same_vocabulary(data: Path, tmp_path: Path) -> None:
    first = run(data, tmp_path / "first", settings={"steps": 2})
    second = run(data, tmp_path / "second", start=str(tmp_path / "first"), settings={"steps": 1, "warmup": 0})
    moved = max((each - weights(first)[name]).abs().max().item() for name, each in weights(second).items())
    assert 0 < moved < 3e-3
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])}
    bertie.BertTokenizer(vocab=words).save_pretrained(tmp_path / "first")
    with pytest.raises(InputError, match=r"another vocabulary than the data .* \(7 and 800 entries; \d+ are not in"):
        run(data, tmp_path / "third", start=str(tmp_path / "first"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"config": "huge"}, r"config is 'huge'; allowed: mini, base, large, or a config file"),
        ({"start": "a", "config": "base"}, "Give either config or start"),
        ({"length": (4,)}, "length is '4'; give a number of at least 5"),
        ({"length": (65,)}, "The length is 65, but the model has 64 positions"),
        ({"dropout": 1.0}, "dropout is 1.0; allowed"),
        ({"settings": {"patience": 2}}, "patience=2 has no effect on pretraining"),
        ({"settings": {"steps": None}}, "Say how long to train: steps, or budget"),
    ],
)
def test_invalid_recipes_are_refused(data: Path, tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run(data, tmp_path / "run", **given)
    assert not (tmp_path / "run" / "report.md").exists()


def test_another_recipe_is_not_resumed_and_a_finished_run_not_overwritten(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, settings={"steps": 1})
    with pytest.raises(InputError, match="holds a finished run"):
        run(data, out, resume=True)
    (out / "report.md").unlink()
    with pytest.raises(InputError, match="length was .* and is now"):
        run(data, out, resume=True, length=(16,), settings={"steps": 1})
    with pytest.raises(InputError, match="dropout was .* and is now"):
        run(data, out, resume=True, dropout=0.0, settings={"steps": 1})
    other = tmp_path / "other.json"  # with the same weights
    other.write_text(json.dumps({**CONFIG, "hidden_act": "relu"}), encoding="utf-8")
    with pytest.raises(InputError, match="the values of the config differ"):
        run(data, out, resume=True, config=str(other), settings={"steps": 1})


def test_a_teacher_is_known_by_its_files(data: Path, tmp_path: Path) -> None:
    def write_teacher(name: str, seed: int) -> str:
        torch.manual_seed(seed)
        bertie.BertModel(bertie.BertConfig(**CONFIG)).save_pretrained(tmp_path / name)
        bertie.BertTokenizer.from_pretrained(data / TOKENIZER).save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    def resumed(teacher: str) -> Pretrained:
        (tmp_path / "run" / "report.md").unlink(missing_ok=True)
        return run(data, tmp_path / "run", resume=True, teacher=teacher, settings={"steps": 1})

    first = resumed(write_teacher("teacher", 1))
    assert first.history.records[0]["teacher_loss"] > 0
    assert resumed(write_teacher("elsewhere", 1)).history.step == 1
    with pytest.raises(InputError, match="the teacher's files differ"):
        resumed(write_teacher("teacher", 2))


def test_without_held_out_documents_there_is_no_evaluation(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain: Callable[..., Corpus] = module.Corpus

    def without(folder: Path, part: str = "train") -> Corpus:
        if part == "heldout":
            raise InputError("it has no heldout documents.")
        return plain(folder, part)

    monkeypatch.setattr(module, "Corpus", without)
    assert run(data, tmp_path / "run", settings={"steps": 1}).metrics is None
    assert "The model is not evaluated" in caplog.text


def test_the_default_settings_of_pretraining() -> None:
    given = Recipe(data=Path("d"), out=Path("r"), config="mini", length=(128, 512), settings=Settings(steps=200))
    assert given.shares == [0.9, pytest.approx(0.1)]
    assert replace(given, length=(64, 128, 512)).shares == pytest.approx([0.45, 0.45, 0.1])
    used = given.settings_for(384)
    assert (used.learning_rate, used.batch_tokens, used.evaluate_every, used.patience) == (4e-4, 16_384, 20, None)
    assert (used.spike_threshold, used.skip_bad_steps, used.keep_best) == (10.0, 10, False)
    assert given.settings_for(768).learning_rate == 1e-4
    used = replace(given, settings=Settings(steps=200, spike_threshold=0, skip_bad_steps=0)).settings_for(384)
    assert (used.spike_threshold, used.skip_bad_steps) == (0, 0)
    chosen = replace(given, settings=Settings(budget=60, learning_rate=1e-3, batch_size=4))
    used = chosen.settings_for(384)
    assert (used.learning_rate, used.batch_tokens, used.batch_size, used.evaluate_every) == (1e-3, None, 4, None)
