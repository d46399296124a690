"""The schedule walked step by step over a whole run, and the moving average as a sum over its history."""

import math


def slow_rates(*, peak, steps_per_epoch, epochs, warmup_epochs, flat_epochs, warmup_start, min_lr_ratio):
    """List the learning rates after 0, 1, 2, ... updates up to the end of the run."""
    rising, total, flat = (n * steps_per_epoch for n in (warmup_epochs, epochs, flat_epochs))
    falling = total - rising - flat
    first, last = peak * warmup_start, peak * min_lr_ratio
    rates = [first + (peak - first) * (i / rising) * (i / rising) for i in range(rising)]
    # cos**2 of the half angle is the half cosine
    rates += [last + (peak - last) * math.cos(math.pi / 2 * i / falling) ** 2 for i in range(falling)]
    if falling == 0 and rising:
        return rates + [peak] + [last] * flat
    return rates + [last] * (flat + 1)


def slow_average(start, values, decays):
    """Weigh the start and every value by what later updates leave of it."""
    weights = [1.0]
    for decay in decays:
        weights = [weight * decay for weight in weights] + [1.0 - decay]
    return sum(weight * value for weight, value in zip(weights, [start, *values], strict=True))
