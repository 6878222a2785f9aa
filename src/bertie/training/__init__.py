"""The one training loop: `train` trains a `Learner` according to `Settings`."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.errors import Stopped
from bertie.settings import Settings, describe_settings
from bertie.training.distributed import is_first, local_device, world_size
from bertie.training.history import Callback, Event, History, Log
from bertie.training.learner import Learner, Phase
from bertie.training.logs import JsonLines
from bertie.training.loop import train
from bertie.training.sampler import LookedUpSizes

__all__ = [
    "Callback",
    "Event",
    "History",
    "JsonLines",
    "Learner",
    "Log",
    "LookedUpSizes",
    "Phase",
    "Settings",
    "Stopped",
    "describe_settings",
    "is_first",
    "local_device",
    "train",
    "world_size",
]
