"""Readers, augmentations and batches, in numpy. Only `yolox.data.loader` imports MindSpore."""
