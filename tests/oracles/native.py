"""What the native kernels compute, in float64 and as plainly as possible."""

from __future__ import annotations

import numpy as np


def depthwise(x, weight, stride, dy=None):
    """Returns y, and the gradients of x and weight for dy, of a depthwise convolution with padding (K - 1) / 2."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    kernel, (height, width) = weight.shape[2], x.shape[2:]
    margin = (kernel - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    y, dpadded, dweight = np.zeros((*x.shape[:2], rows, columns)), np.zeros_like(padded), np.zeros_like(weight)
    for i in range(kernel):
        for j in range(kernel):
            at = np.s_[:, :, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            y += weight[None, :, 0, i, j, None, None] * padded[at]
            if dy is not None:
                dpadded[at] += weight[None, :, 0, i, j, None, None] * dy
                dweight[:, 0, i, j] = (padded[at] * dy).sum((0, 2, 3))
    return y, dpadded[:, :, margin : margin + height, margin : margin + width], dweight


def convolution(x, weight, stride, dy):
    """Returns y, and the gradients of x and weight for dy, of a convolution of all channels with padding (K - 1) / 2."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    kernel, (height, width) = weight.shape[2], x.shape[2:]
    margin = (kernel - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    y, dpadded, dweight = np.zeros((len(x), len(weight), rows, columns)), np.zeros_like(padded), np.zeros_like(weight)
    for i in range(kernel):
        for j in range(kernel):
            at = np.s_[:, :, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            y += np.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[at])
            dpadded[at] += np.einsum("oc,bohw->bchw", weight[:, :, i, j], dy)
            dweight[:, :, i, j] = np.einsum("bchw,bohw->oc", padded[at], dy)
    return y, dpadded[:, :, margin : margin + height, margin : margin + width], dweight


def activation(z, act):
    """Returns the activation of z and its derivative."""
    if act == "silu":
        s = 1 / (1 + np.exp(-z))
        return z * s, s * (1 + z * (1 - s))
    below = {"none": 1.0, "relu": 0.0, "lrelu": 0.1}[act]
    return np.where(z > 0, z, below * z), np.where(z > 0, 1.0, below)


def norm(x, gamma, beta, act, *, eps, statistics=None, dy=None):
    """Computes a batch normalisation with activation.

    Args:
        x: [B,C,H,W].
        gamma: [C].
        beta: [C].
        act: name of the activation.
        eps: added to the variance.
        statistics: mean and variance [C]; None takes those of the batch.
        dy: gradient of the result.

    Returns:
        dict of y, mean, variance, inv_std and, with dy, dx, dgamma, dbeta; of y, dgamma and dbeta also the sizes of what they
        sum, which bound the rounding where the terms cancel (y_size, ...).
    """
    x, gamma, beta = (value.astype(np.float64) for value in (x, gamma, beta))

    def rows(v):
        return v[None, :, None, None]

    mean, variance = (x.mean((0, 2, 3)), x.var((0, 2, 3))) if statistics is None else statistics
    inv_std = 1 / np.sqrt(variance + eps)
    xhat = (x - rows(mean)) * rows(inv_std)
    y, slope = activation(xhat * rows(gamma) + rows(beta), act)
    y_size = np.abs(xhat * rows(gamma)).max() + np.abs(beta).max()
    result = {"y": y, "y_size": y_size, "mean": mean, "variance": variance, "inv_std": inv_std}
    if dy is None:
        return result
    dz = dy * slope
    dbeta, dgamma = dz.sum((0, 2, 3)), (dz * xhat).sum((0, 2, 3))
    count = x.shape[0] * x.shape[2] * x.shape[3] if statistics is None else np.inf
    dx = rows(gamma * inv_std) * (dz - rows(dbeta) / count - xhat * rows(dgamma) / count)
    sizes = {"dbeta_size": np.abs(dz).sum((0, 2, 3)), "dgamma_size": (np.abs(dz) * (np.abs(xhat) + 1)).sum((0, 2, 3))}
    return {**result, "dx": dx, "dgamma": dgamma, "dbeta": dbeta, **sizes}


def max_pool(x, dy):
    """Returns the maxima of 5x5 windows, and the gradient of x for dy: the first maximum of a window, row by row, gets it."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for image, channel, row, column in np.ndindex(*x.shape):
        top, left = max(row - 2, 0), max(column - 2, 0)
        window = x[image, channel, top : row + 3, left : column + 3]
        i, j = np.unravel_index(window.argmax(), window.shape)
        y[image, channel, row, column] = window[i, j]
        dx[image, channel, top + i, left + j] += dy[image, channel, row, column]
    return y, dx


def sgd(param, momentum, gradient, rate, share, decay):
    """Returns a parameter and its momentum after a step of SGD with Nesterov momentum; weights of four dimensions decay."""
    param, momentum, gradient = (value.astype(np.float64) for value in (param, momentum, gradient))
    gradient = gradient + (decay * param if param.ndim == 4 else 0)
    momentum = share * momentum + gradient
    return param - rate * (gradient + share * momentum), momentum
