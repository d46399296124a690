"""Weights files of other systems and of this library; `load` puts them into a detector."""
