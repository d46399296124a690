"""Calls the functions of the native library with numpy arrays, as MindSpore does with tensors."""

from __future__ import annotations

import ctypes

import numpy as np

C_NAMES = {"none": "none", "silu": "silu", "relu": "relu", "lrelu": "leaky_relu"}
SETTINGS = np.array([1e-3, 0.03], np.float32)  # epsilon, momentum


def call(library, name: str, *arrays: np.ndarray) -> int:
    """Calls a function with float32 arrays, inputs then outputs; returns its status, 0 when it is done."""
    count = len(arrays)
    data = (ctypes.c_void_p * count)(*[a.ctypes.data for a in arrays])
    ranks = (ctypes.c_int * count)(*[a.ndim for a in arrays])
    sizes = [(ctypes.c_int64 * max(a.ndim, 1))(*a.shape) for a in arrays]
    shapes = (ctypes.c_void_p * count)(*[ctypes.addressof(s) for s in sizes])
    types = (ctypes.c_char_p * count)(*[str(a.dtype).encode() for a in arrays])
    return getattr(library, name)(count, data, ranks, shapes, types, None, None)


def depthwise(library, x, weight, stride, dy):
    """Returns y, dx, dweight of the kernels; every element of the results is NaN before."""
    rows, columns = ((side - 1) // stride + 1 for side in x.shape[2:])
    y = np.full((*x.shape[:2], rows, columns), np.nan, np.float32)
    dx, dweight = np.full_like(x, np.nan), np.full_like(weight, np.nan)
    assert call(library, f"depthwise_forward_{stride}", x, weight, y) == 0
    assert call(library, f"depthwise_backward_{stride}", x, weight, dy, dx, dweight) == 0
    return y, dx, dweight


def convolution(library, x, weight, stride, dy):
    """Returns y, dx, dweight of the kernels; every element of the results is NaN before."""
    y, dx, dweight = np.full_like(dy, np.nan), np.full_like(x, np.nan), np.full_like(weight, np.nan)
    assert call(library, f"convolution_forward_{stride}", x, weight, y) == 0
    assert call(library, f"convolution_input_gradient_{stride}", x, weight, dy, dx) == 0
    assert call(library, f"convolution_weight_gradient_{stride}", x, weight, dy, dweight) == 0
    return y, dx, dweight


def norm_train(library, x, gamma, beta, moving, act, dy):
    """Returns y, mean, inv_std, the new moving averages, and the gradients for dy, as a dict."""
    channels = x.shape[1]
    moving_mean, moving_variance = (value.copy() for value in moving)
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    mean, inv_std, dgamma, dbeta = np.full((4, channels), np.nan, np.float32)
    name, parts = C_NAMES[act], (gamma, beta, moving_mean, moving_variance, SETTINGS)
    assert call(library, f"norm_train_{name}", x, *parts, y, mean, inv_std) == 0
    assert call(library, f"norm_train_backward_{name}", x, dy, gamma, beta, mean, inv_std, dx, dgamma, dbeta) == 0
    results = {"y": y, "mean": mean, "inv_std": inv_std, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    return {**results, "moving_mean": moving_mean, "moving_variance": moving_variance}


def norm_infer(library, x, gamma, beta, moving, act, dy):
    """Returns y and the gradients for dy with fixed statistics, as a dict."""
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    dgamma, dbeta = np.full((2, x.shape[1]), np.nan, np.float32)
    inv_std = (1 / np.sqrt(moving[1].astype(np.float64) + SETTINGS[0])).astype(np.float32)
    name = C_NAMES[act]
    assert call(library, f"norm_infer_{name}", x, gamma, beta, *moving, SETTINGS, y) == 0
    assert call(library, f"norm_infer_backward_{name}", x, dy, gamma, beta, moving[0], inv_std, dx, dgamma, dbeta) == 0
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def max_pool(library, x, dy):
    """Returns y and dx of the kernels."""
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    assert call(library, "max_pool_forward_5", x, y) == 0
    assert call(library, "max_pool_backward_5", x, dy, dx) == 0
    return y, dx


def move(library, name, x, shape):
    """Returns what a function of one tensor makes of it, of a shape."""
    y = np.full(shape, np.nan, np.float32)
    assert call(library, name, x, y) == 0
    return y


def tensor_sums(library, tensors):
    """Returns the sum of each tensor."""
    sums = np.full(len(tensors), np.nan, np.float32)
    assert call(library, "tensor_sums", *tensors, sums) == 0
    return sums


def sgd_update(library, params, momenta, gradients, *, rate=0.1, momentum=0.9, decay=0.05, apply=1.0):
    """Returns parameters and momenta after the update."""
    settings, params, momenta = np.array([rate, momentum, decay, apply], np.float32), copies(params), copies(momenta)
    applied = np.full(1, np.nan, np.float32)
    assert call(library, "sgd_update", settings, *params, *momenta, *gradients, applied) == 0
    assert applied.tolist() == [apply]
    return params, momenta


def average_update(library, average, kept, tensors, *, decay=0.75, apply=1.0):
    """Returns the average and the copies after the update."""
    settings, average, kept = np.array([decay, apply], np.float32), average.copy(), kept.copy()
    applied = np.full(1, np.nan, np.float32)
    assert call(library, "average_update", settings, average, kept, *tensors, applied) == 0
    assert applied.tolist() == [apply]
    return average, kept


def copies(arrays):
    """Returns a copy of each array."""
    return [array.copy() for array in arrays]
