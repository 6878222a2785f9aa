"""What the estimators that learn share: the parameters of a fine-tuning, and the call of it."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any

from bertie.errors import BertieError
from bertie.estimators.estimator import Estimator
from bertie.extras import need
from bertie.settings import Settings
from bertie.tasks.registry import find

if TYPE_CHECKING:
    from bertie.finetuning import Finetuned
    from bertie.training import History


@dataclass(eq=False, repr=False)
class LearningEstimator(Estimator):
    """Parameters as `bertie.finetune` has them; scikit-learn finds them in the signature, stored unchanged."""

    model: Any
    _: KW_ONLY
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    windows: bool | None = None
    overlap: int | None = None
    tune: Any = None
    patience: int | None = None
    lora: int | None = None
    settings: Settings | None = None
    seed: int | None = None
    device: Any = None
    show_progress: bool | None = None

    def _learn(self, rows: Sequence[Mapping[str, Any]], kind: str | None = None, **more: Any) -> "Finetuned":
        """Fine-tune on all rows but those kept for tuning; nothing is scored, which is the caller's to do."""
        need("torch", "torch", "Fine-tuning")
        from bertie.finetuning import finetune

        given = {field.name: getattr(self, field.name) for field in fields(LearningEstimator)}
        result = finetune(find(self.task).learns, rows, dev=0, kind=kind, **given, **more)
        if result is None:
            raise BertieError("A scikit-learn estimator is fitted in one process; start several by `bertie finetune`.")
        self.pipeline_ = result.pipeline
        self.pipeline_.show_progress = self.show_progress
        self.figures_: dict[str, float | None] = result.history.best_figures
        self.history_: History | None = result.history
        return result

    def _restore(self, note: Mapping[str, Any]) -> None:
        del note
        self.figures_, self.history_ = {}, None
