"""Pictures of what a model does, each a single file that needs no network: attention weights and entities in a text."""

from bertie.pictures.attention import plot_attention
from bertie.pictures.entities import plot_entities
from bertie.pictures.picture import Picture

__all__ = ["Picture", "plot_attention", "plot_entities"]
