"""Pickles that try to run something: refused by name, and nothing runs."""

from __future__ import annotations

import collections
import functools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.weights.torch_files import Call, Global, pickled, tensor
from yolox.errors import WeightsError
from yolox.weights.pickle_reader import _CALLS, MAX_NAME, MAX_PICKLE_BYTES, MAX_STEPS, StorageRef, TensorRef, evaluate_pickle


class _Reduce:
    """An object whose pickle calls a function of our choice."""

    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A path that exists as soon as one of the usual calls was made; the worst are replaced by traps."""
    path = tmp_path / "it_ran"

    def spring(*_arguments, **_options):
        path.write_text("ran")

    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen")):
        monkeypatch.setattr(module, name, spring)
    return path


def _attacks(path) -> dict[str, bytes]:
    code = f"open({str(path)!r}, 'w')"
    objects = {
        "builtins.exec": _Reduce(exec, code),
        "builtins.eval": _Reduce(eval, code),
        "builtins.open": _Reduce(open, str(path), "w"),
        "builtins.getattr": _Reduce(getattr, 1, "real"),
        "builtins.__import__": _Reduce(__import__, "os"),
        "functools.partial": _Reduce(functools.partial, eval, code),
        "builtins.map": _Reduce(map, eval, [code]),
        "collections.defaultdict": collections.defaultdict(list),
        "nested": {"model": [{"w": (_Reduce(_Reduce, eval, code),)}]},
    }
    attacks = {f"{k} {p}": pickle.dumps(v, protocol=p) for k, v in objects.items() for p in (0, 1, 2, 4)}
    names = ["os.system", "posix.system", "subprocess.Popen", "nt.system", "runpy.run_path", "torch.load"]
    names += ["numpy.load", "torch._utils._rebuild_tensor_v2.__globals__.get", "pickle.loads"]
    attacks |= {name: pickled(Call(name, f"touch {path}")) for name in names}
    chain = Call("builtins.getattr", Call("builtins.__import__", "os"), "system")
    return attacks | {"chain": pickled(Call("builtins.map", chain, [f"touch {path}"]))}


def test_pickles_that_call_something_are_refused_and_nothing_runs(trap):
    attacks = _attacks(trap)
    assert len(attacks) > 40
    for name, data in attacks.items():
        with pytest.raises(WeightsError) as error:
            evaluate_pickle(data)
        assert "nothing was run" in str(error.value) or "broken pickle" in str(error.value), name
        assert not trap.exists(), name


def test_the_message_names_the_global(trap):
    with pytest.raises(WeightsError, match="names 'os.system', no part of a weights file; nothing was run"):
        evaluate_pickle(pickled(Call("os.system", f"touch {trap}")))
    data = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R."  # STACK_GLOBAL
    with pytest.raises(WeightsError, match="'posix.system'"):
        evaluate_pickle(data)


OTHER_OPCODES = {
    "INST": b"(ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nX\x02\x00\x00\x00lso.",
    "NEWOBJ": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Pstorage\n.",
    "DUP": b"\x80\x02]2.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "FROZENSET": b"\x80\x04(\x91.",
    "BYTEARRAY8": b"\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00a.",
}


@pytest.mark.parametrize("opcode", OTHER_OPCODES)
def test_opcodes_that_weights_do_not_need_are_refused(opcode):
    with pytest.raises(WeightsError, match=f"opcode {opcode} |names 'os.system'"):
        evaluate_pickle(OTHER_OPCODES[opcode])


def test_values_of_a_checkpoint():
    root = {
        "model": Call("collections.OrderedDict", (("w", tensor("Float", "7", 6, (2, 3), (3, 1), offset=0)),)),
        "best_ap": Call("numpy.core.multiarray.scalar", Global("numpy.dtype"), "bytes"),
        "size": Call("torch.Size", (2, 3)),
        "epoch": -5,
        "lr": 0.25,
        "large": 2**70,
        "flags": [True, False, None, ()],
    }
    found = evaluate_pickle(pickled(root))
    assert found["model"] == {"w": TensorRef(StorageRef("float32", "7", 6), 0, (2, 3), (3, 1))}
    del found["model"], found["best_ap"]
    assert found == {
        "size": (2, 3), "epoch": -5, "lr": 0.25, "large": 2**70, "flags": [True, False, None, ()]
    }  # fmt: skip


def test_agrees_with_pickle_on_plain_values():
    value = {
        "a": [1, 2.5, "x", None, True, (1,), (1, 2), (1, 2, 3), (1,) * 4],
        "b": {3: "y" * 300},
        "c": 10**12,
    }
    value["again"] = value["a"]
    for protocol in (2, 3, 4):
        assert evaluate_pickle(pickle.dumps(value, protocol=protocol)) == value


def test_ordered_dict_with_attributes_as_state_dicts_have():
    state = collections.OrderedDict(a=1)
    state._metadata = {"": {"version": 1}}
    assert evaluate_pickle(pickle.dumps(state, protocol=2)) == {"a": 1}


def test_size_is_bounded():
    with pytest.raises(WeightsError, match="more than the limit"):
        evaluate_pickle(b"N" * (MAX_PICKLE_BYTES + 1))


def _copies(name, value, calls):
    """Pickle a value once and call a function with it again and again."""
    module, _, function = name.rpartition(".")
    start = b"\x80\x02" + f"c{module}\n{function}\nq\x01".encode() + pickled((value,))[2:-1] + b"q\x02"
    return start + b"(" + b"h\x01h\x02R" * calls + b"t."


COPIED = {
    "collections.OrderedDict": [[(i, None) for i in range(2000)], [(1, 2)] * 2000],
    "torch.Size": [[1] * 2000, (1,) * 2000, {i: 1 for i in range(2000)}, "1" * 2000],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in COPIED.items() for value in values])
def test_a_list_that_is_copied_again_and_again_is_refused(monkeypatch, name, value):
    """A file of 190 kB asked for 20 GB in this way; the last call that is allowed is counted here."""
    done = []
    monkeypatch.setitem(_CALLS, name, lambda items: done.append(len(items)))
    with pytest.raises(WeightsError, match=f"more than {MAX_STEPS} steps, far beyond a weights file"):
        evaluate_pickle(_copies(name, value, MAX_STEPS // 2000 + 1))
    assert MAX_STEPS * 0.9 < sum(done) <= MAX_STEPS


def test_opcodes_are_counted():
    assert evaluate_pickle(b"N" * (MAX_STEPS - 1) + b".") is None
    with pytest.raises(WeightsError, match="steps"):
        evaluate_pickle(b"N" * MAX_STEPS + b".")


def test_states_ten_times_as_large_as_real_ones_are_read():
    state = {f"backbone.{i}.weight": tensor("Float", str(i), 6, (2, 3), (3, 1)) for i in range(10_000)}
    assert len(evaluate_pickle(pickled({"model": state}))["model"]) == 10_000


def test_claimed_lengths_and_deep_nesting_cost_nothing():
    claims = b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"abc."
    with pytest.raises(WeightsError, match="broken pickle"):
        evaluate_pickle(claims)
    deep = b"\x80\x02)" + b"\x85" * 200_000 + b"."
    assert isinstance(evaluate_pickle(deep), tuple)
    doubling = b"\x80\x02N" + b"q\x00h\x00\x86" * 64 + b"."  # 2**64 leaves if anybody walked it
    assert isinstance(evaluate_pickle(doubling), tuple)


VALID = pickled({"model": {"w": tensor("Float", "0", 6, (2, 3), (3, 1))}, "rest": [1.5, (None, True)]})


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=80), st.integers(0, len(VALID)), st.integers(0, 40))
def test_any_bytes_give_a_value_or_a_weights_error(noise, start, length):
    try:
        evaluate_pickle(VALID[:start] + noise + VALID[start + length :])
    except WeightsError:
        pass


def test_every_truncation_is_refused():
    for length in range(len(VALID)):
        with pytest.raises(WeightsError):
            evaluate_pickle(VALID[:length])


def test_reading_imports_no_torch():
    code = "import sys, yolox.weights.torch_file; print('torch' in sys.modules, 'mindspore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"


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
