"""YOLOX on MindSpore: the public names, and nothing else. The import of `runtime` comes first: it picks the fast CPU path."""

from yolox import runtime  # noqa: F401 I001
