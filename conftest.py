"""Doctests run without compiling, so that an example of a detector takes a second."""

import mindspore
import pytest


@pytest.fixture(autouse=True)
def eager_doctests(request, monkeypatch):
    """Replaces `mindspore.jit` by the function itself while a doctest runs."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.setattr(mindspore, "jit", lambda function: function)
