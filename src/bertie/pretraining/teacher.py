"""A frozen embedding model as a teacher, and the similarity of a student's vectors to its own."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.errors import InputError, InputTypeError
from bertie.pipelines import EmbedPipeline
from bertie.tasks.embed import Embed
from bertie.tasks.features import Features
from bertie.tasks.pooling import pool
from bertie.tokenization.tokenizer import Tokenizer


class Teacher:
    """Computes vectors of tokenized sentences; a student's vector is the mean of its last hidden states.

    ``tokenizer`` is the student's, and ``width`` that of its hidden states.
    """

    def __init__(self, pipeline: EmbedPipeline, tokenizer: Tokenizer, width: int) -> None:
        if not isinstance(pipeline.codec, Embed):
            raise InputTypeError(f"A teacher is a pipeline for 'embed', not for {pipeline.task!r}.")
        self._task, self._model = pipeline.codec, pipeline.computing
        name = str(pipeline.tokenizer.name_or_path)
        if pipeline.tokenizer.get_vocab() != tokenizer.get_vocab():
            raise InputError(
                f"The teacher {name!r} has another vocabulary than the data; prepare the data with the teacher's "
                "tokenizer, or choose a teacher with the same vocabulary."
            )
        if pipeline.dimension != width:
            raise InputError(
                f"The teacher {name!r} gives vectors of {pipeline.dimension} numbers, but the model's hidden states "
                f"have {width}; choose a teacher and a model of the same width."
            )
        if self._task.recipe.default_prompt:
            raise InputError(f"The teacher {name!r} puts a prompt before every text; choose one that does not.")

    @property
    def limit(self) -> int:
        """The maximum tokens of a text for the teacher."""
        return self._task.limit

    def cosines(self, hidden: Tensor, sentences: Features) -> Tensor:
        """Return the cosine of the student's and the teacher's vector of each sentence, float32 ``[N]``.

        ``hidden [T, D]`` are the student's last hidden states of a batch whose last rows are the sentences.
        """
        with self._model.inference():
            targets = self._task.run(self._model, sentences)
        targets = torch.as_tensor(targets, device=hidden.device).clone()  # autograd cannot save inference tensors
        vectors = pool(hidden[len(hidden) - len(sentences.ids) :], sentences.lengths, ("mean",))
        return F.cosine_similarity(vectors, targets, dim=-1)
