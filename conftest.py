"""Doctests run without compiling, so that an example of a detector takes a second; drawn examples are the same in every run."""

import mindspore
import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def eager_doctests(request, monkeypatch):
    """Replaces `mindspore.jit` by the function itself while a doctest runs."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.setattr(mindspore, "jit", lambda function: function)
