"""Attention over packed tokens: one function, an ordered list of backends, and an explanation of the choice."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.attention.dispatch import BACKENDS, attend, explain
from bertie.attention.request import Request

__all__ = ["BACKENDS", "Request", "attend", "explain"]
