"""Attention over packed tokens: one signature, an ordered list of backends, and a choice that explains itself."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.attention.dispatch import BACKENDS, attend, explain
from bertie.attention.request import Request

__all__ = ["BACKENDS", "Request", "attend", "explain"]
