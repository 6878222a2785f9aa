"""The public model classes, one file each; ``pretrained`` is their parent."""

from bertie.extras import need_torch

need_torch(__name__)
