"""Metrics: predictions and labels come in, in parts of any size; figures with bootstrap intervals come out. NumPy only.

`Scores` runs any of them; `Differences` compares two systems on the same rows.
"""

from bertie.tasks.metrics.answers import Answers
from bertie.tasks.metrics.choices import Choices
from bertie.tasks.metrics.classes import Classes
from bertie.tasks.metrics.entities import Entities
from bertie.tasks.metrics.guesses import Guesses
from bertie.tasks.metrics.labels import Labels
from bertie.tasks.metrics.numbers import Numbers
from bertie.tasks.metrics.queries import Queries
from bertie.tasks.metrics.ranking import Ranking
from bertie.tasks.metrics.retrieval import Retrieval
from bertie.tasks.metrics.scores import Differences, Metric, Scores

__all__ = [
    "Answers",
    "Choices",
    "Classes",
    "Differences",
    "Entities",
    "Guesses",
    "Labels",
    "Metric",
    "Numbers",
    "Queries",
    "Ranking",
    "Retrieval",
    "Scores",
]
