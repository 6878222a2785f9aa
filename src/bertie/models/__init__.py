"""The public model classes, one file each; ``pretrained`` is their parent."""
