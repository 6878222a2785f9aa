"""Runs programs written for `transformers` and sentence-transformers on bertie's engine, with one added line."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.integrations.accelerating import accelerate as accelerate
from bertie.integrations.accelerating import install as install
from bertie.integrations.accelerating import uninstall as uninstall
