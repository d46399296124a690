"""The one error of this room."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weights file that cannot be read, is not trusted, or does not fit the network."""
