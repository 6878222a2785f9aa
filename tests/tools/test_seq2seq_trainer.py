"""transformers' Seq2SeqTrainer trains bertie's encoder-decoder and scores what it generates; peft adapts it."""

from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

import bertie

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def pairs() -> list[dict[str, list[int]]]:
    """Sources of words, and targets of three that are always the same."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randint(5, 30, (48, 4), generator=draw).tolist()
    return [{"input_ids": [2, *row, 3], "attention_mask": [1] * 6, "labels": [7, 9, 3]} for row in rows]


def model() -> bertie.EncoderDecoderModel:
    torch.manual_seed(0)
    tokens = {"decoder_start_token_id": 2, "pad_token_id": 0, "eos_token_id": 3}
    halves = bertie.BertConfig(**SIZES), bertie.BertConfig(**SIZES)
    return bertie.EncoderDecoderModel(bertie.EncoderDecoderConfig.from_encoder_decoder_configs(*halves, **tokens))


@pytest.mark.parametrize("adapted", [False, True])
def test_it_learns_and_what_it_generates_is_scored(adapted, tmp_path: Path) -> None:
    own = model()
    if adapted:
        own = get_peft_model(own, LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["cls"]))
    scores: list[float] = []

    def right(predicted: transformers.EvalPrediction) -> dict[str, float]:
        found, wanted = predicted.predictions[:, 1:3], predicted.label_ids[:, :2]
        scores.append(float((found == wanted).mean()))
        return {"right": scores[-1]}

    arguments = transformers.Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=4,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=2e-2,
        predict_with_generate=True,
        generation_max_length=5,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
    )
    rows = pairs()
    trainer = transformers.Seq2SeqTrainer(
        own, arguments, train_dataset=rows, eval_dataset=rows[:12], compute_metrics=right
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < before / 1.5
    assert scores == [0.0, 1.0]
    assert own.generation_config.eos_token_id == 3
    if adapted:
        saves_and_merges(own, tmp_path)


def saves_and_merges(own: PeftModel, folder: Path) -> None:
    """Adapters travel in a folder of their own, and merged they are a folder that both libraries open."""
    batch = {"input_ids": torch.tensor([pairs()[0]["input_ids"]]), "labels": torch.tensor([[7, 9, 3]])}
    expected = own.eval()(**batch).logits
    own.save_pretrained(folder / "adapters")
    torch.testing.assert_close(PeftModel.from_pretrained(model().eval(), folder / "adapters")(**batch).logits, expected)
    merged = own.merge_and_unload()
    assert isinstance(merged, bertie.EncoderDecoderModel)
    merged.save_pretrained(folder / "merged")
    for kind in (bertie.EncoderDecoderModel, transformers.EncoderDecoderModel):
        found = kind.from_pretrained(folder / "merged").eval()(**batch).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
