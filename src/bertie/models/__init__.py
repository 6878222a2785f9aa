"""The public model classes, one file each; ``pretrained`` has their base class."""

from bertie.extras import need_torch

need_torch(__name__)
