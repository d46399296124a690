"""Names of a torch file with arguments that torch does not write."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.weights.torch_files import Call, pickled, tensor
from yolox.errors import WeightsError
from yolox.weights.pickled import evaluate_pickle
from yolox.weights.torch_values import MAX_NAME

WRONG_CALLS = {
    "storage called": Call("torch.FloatStorage", 3),
    "dict of a string": Call("collections.OrderedDict", "ab"),
    "dict of numbers": Call("collections.OrderedDict", [1, 2]),
    "size of text": Call("torch.Size", ("a",)),
    "parameter of a number": Call("torch._utils._rebuild_parameter", 3, True, None),
    "too few arguments": Call("torch._utils._rebuild_tensor_v2"),
    "key of a tuple": {((1, 2), 3): 4},
    "key of a large number": {2**61: 4},
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_known_names_with_wrong_arguments_are_refused(case):
    with pytest.raises(WeightsError):
        evaluate_pickle(pickled(WRONG_CALLS[case]))


def test_attributes_cannot_be_set_on_names():
    data = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__K\x01sb."
    with pytest.raises(WeightsError, match="sets attributes"):
        evaluate_pickle(data)


def test_a_numpy_scalar_beside_the_weights_is_ignored():
    for protocol in (2, 4):
        data = pickle.dumps({"best_ap": np.float64(0.25), "epoch": 3}, protocol=protocol)
        assert evaluate_pickle(data)["epoch"] == 3


def test_long_names_are_refused():
    """Two equal names of megabytes would be compared at every use."""
    assert evaluate_pickle(pickled({"a" * MAX_NAME: 1})) == {"a" * MAX_NAME: 1}
    with pytest.raises(WeightsError, match="key has 1001 characters, more than the limit of 1000"):
        evaluate_pickle(pickled({"a" * (MAX_NAME + 1): 1}))
    with pytest.raises(WeightsError, match="without a short name"):
        evaluate_pickle(pickled(tensor("Float", "7" * (MAX_NAME + 1), 6, (2, 3), (3, 1))))
