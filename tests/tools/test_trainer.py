"""transformers.Trainer with our models and tokenizer: the losses of the reference, files that load (decision 21)."""

import pytest
import torch
import transformers
from safetensors.torch import load_file
from small import TINY

import bertie


def masking(tokenizer):
    """Mask the same words of the same rows every time: else two runs could not be compared."""
    collator = transformers.DataCollatorForLanguageModeling(tokenizer)

    def collate(rows):
        torch.manual_seed(sum(rows[0]["input_ids"]))
        return collator(rows)

    return collate


TASKS = {"BertForSequenceClassification": transformers.DataCollatorWithPadding, "BertForMaskedLM": masking}
ARGUMENTS = {
    "per_device_train_batch_size": 8,
    "max_steps": 4,
    "save_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "logging_steps": 1,
    "learning_rate": 1e-2,
    "load_best_model_at_end": True,
    "gradient_checkpointing": True,
    "use_cpu": True,
    "report_to": [],
    "disable_tqdm": True,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
every_task = pytest.mark.parametrize("name", TASKS)


def fresh(name: str, library=bertie):
    """Return a new model: bertie's and the reference's have equal weights."""
    torch.manual_seed(0)
    reference = getattr(transformers, name)(transformers.BertConfig(**TINY))
    if library is transformers:
        return reference
    model = getattr(bertie, name)(bertie.BertConfig(**TINY))
    model.load_state_dict(reference.state_dict())
    return model


@pytest.fixture
def trainer(encoded, tokenizer, tmp_path):
    def make(model, folder: str = "out", **options) -> transformers.Trainer:
        name = type(model).__name__
        # the reference swallows columns it does not know, we refuse them
        rows = encoded if name == "BertForSequenceClassification" else encoded.remove_columns("label")
        return transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(output_dir=str(tmp_path / folder), **{**ARGUMENTS, **options}),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
            data_collator=TASKS[name](tokenizer),
        )

    return make


def trained(trainer: transformers.Trainer) -> transformers.Trainer:
    trainer.train()
    return trainer


def losses(trainer: transformers.Trainer) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history for key in ("loss", "eval_loss") if key in entry]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


@every_task
def test_training_gives_the_losses_of_the_reference(name, trainer):
    ours = trained(trainer(fresh(name), "ours"))  # a Trainer seeds the order of rows when it is made
    theirs = trained(trainer(fresh(name, transformers), "theirs"))
    assert len(losses(ours)) == 6
    assert losses(ours) == pytest.approx(losses(theirs), abs=2e-4)


@every_task
def test_the_best_checkpoint_is_loaded_back(name, trainer, tmp_path):
    run = trained(trainer(fresh(name)))
    saved = load_file(f"{run.state.best_model_checkpoint}/model.safetensors")
    assert saved.keys() == run.model.state_dict().keys()
    assert not any("decoder" in key for key in saved)
    assert all(torch.equal(run.model.state_dict()[key], value) for key, value in saved.items())
    assert run.evaluate()["eval_loss"] == pytest.approx(min(losses(run)[2::3]), abs=1e-5)
    run.model.save_pretrained(tmp_path / "final")
    ids = torch.tensor([[101, 2023, 3185, 102]])
    for library in (bertie, transformers):
        again = getattr(library, name).from_pretrained(tmp_path / "final").eval()
        torch.testing.assert_close(again(ids).logits, run.model.eval()(ids).logits, atol=1e-5, rtol=0)


@every_task
def test_resuming_gives_what_one_run_gives(name, trainer, tmp_path):
    whole = trained(trainer(fresh(name), load_best_model_at_end=False))
    resumed = trainer(fresh(name), load_best_model_at_end=False)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    torch.testing.assert_close(weights(resumed.model), weights(whole.model), atol=0, rtol=0)


def test_predictions_are_rectangles(trainer, encoded):
    run = trainer(fresh("BertForMaskedLM"), eval_strategy="no", load_best_model_at_end=False)
    predicted = run.predict(encoded.select(range(4)).remove_columns("label"))
    longest = max(len(encoded[row]["input_ids"]) for row in range(4))
    assert predicted.predictions.shape == (4, longest, TINY["vocab_size"])


def test_a_column_that_the_model_does_not_take_is_refused(trainer, encoded):
    run = trainer(fresh("BertForMaskedLM"), eval_strategy="no", load_best_model_at_end=False)
    run.train_dataset = encoded  # with its column "label", which Trainer keeps for any model
    with pytest.raises(TypeError, match="takes no argument 'label'. Did you mean 'labels'"):
        run.train()


def test_trainer_saves_no_config_and_says_so(trainer, tmp_path):
    run = trainer(fresh("BertForMaskedLM"))
    run.save_model(str(tmp_path / "final"))
    with pytest.raises(OSError, match=r"config\.json"):
        bertie.BertForMaskedLM.from_pretrained(tmp_path / "final")
    model = bertie.BertForMaskedLM.from_pretrained(tmp_path / "final", config=bertie.BertConfig(**TINY))
    torch.testing.assert_close(weights(model), weights(run.model), atol=0, rtol=0)
