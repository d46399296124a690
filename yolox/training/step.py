"""The training state and the one step that changes it."""

from collections.abc import Callable, Mapping

import mindspore as ms
from attrs import frozen
from mindspore import Parameter, Tensor, nn, ops

from yolox.assign import simota_assign, simota_assign_gathered
from yolox.config import InputSpec, OptimConfig, Recipe
from yolox.distributed import Group, normalize_over_devices, recipe_reducers
from yolox.graph import compile_function, tree_map
from yolox.native import average_operator
from yolox.nn.functional import normalize_images, planes_function
from yolox.schedule import ema_value
from yolox.training.optim import (
    OPTIMIZERS,
    FlatTensors,
    clip_by_global_norm,
    flat_tensors,
    flatten,
    make_gradient_sums,
    zero_slots,
)
from yolox.yolox_loss import detection_loss


@frozen(eq=False)
class TrainState:
    """Handle to everything that a training step changes. The tensors live in Parameters; only the step writes them.

    `params` and `buffers` (BN statistics, and parameters that are frozen) are the detector's own; the others belong to
    the state. `slots` are the optimizer's tensors by name; `updates` counts what it applied, where it depends on that. `ema`
    holds the moving averages of `params` followed by those of `buffers`. `safe_buffers` are the buffers as of the last
    applied step. These two are only read and written as a whole, so that each is one tensor.
    """

    params: tuple[Parameter, ...]
    buffers: tuple[Parameter, ...]
    safe_buffers: FlatTensors
    slots: Mapping[str, tuple[Parameter, ...]]
    updates: Parameter | None
    ema: FlatTensors

    @property
    def averaged(self) -> tuple[Parameter, ...]:
        """What the moving average follows: parameters, then buffers."""
        return self.params + self.buffers

    @property
    def optimizer_state(self) -> tuple[Parameter, ...]:
        """The slots in the order of their names, and the number of updates where it is kept."""
        kept = () if self.updates is None else (self.updates,)
        return sum(self.slots.values(), ()) + kept


def create_train_state(detector: nn.Cell, *, optimizer: str = "sgd") -> TrainState:
    """Returns the state of a fresh run: an optimizer's state of zeros, averages equal to the current values.

    Args:
        detector: a Cell; its trainable parameters are trained, everything else (BN statistics, parameters with
            ``requires_grad=False``) is averaged and saved with them.
        optimizer: as `OptimConfig.optimizer`.

    Returns:
        TrainState that refers to the detector's own Parameters.

    Raises:
        ValueError: if the detector has no trainable parameter.
        TypeError: if a parameter is not float32.
    """
    params = tuple(detector.trainable_params())
    if not params:
        raise ValueError("create_train_state: the detector has no trainable parameter")
    buffers = tuple(p for p in detector.get_parameters() if not p.requires_grad)
    rule = OPTIMIZERS[optimizer]
    updates = Parameter(Tensor(0.0, ms.float32), name="optimizer_updates", requires_grad=False) if rule.counts_updates else None
    safe, averages = (_flat_copy(parts, name) for parts, name in ((buffers, "safe_buffers"), (params + buffers, "ema")))
    return TrainState(params, buffers, safe, zero_slots(params, rule.slots), updates, averages)


def _flat_copy(parameters, name: str) -> FlatTensors:
    return flat_tensors([p.asnumpy() for p in parameters], name=name)


def restore_buffers(state: TrainState) -> None:
    """Restores the BN statistics of the last applied step, outside of graph code.

    Args:
        state: whose `buffers` are written; the others keep every bit.
    """
    for buffer, value in zip(state.buffers, state.safe_buffers.arrays(), strict=True):
        ops.assign(buffer, Tensor(value))


def _make_average_update(state: TrainState) -> Callable:
    """Returns the function of (apply, decay) for graph code that moves the averages, and copies the buffers to `safe_buffers`.

    Where the bool scalar `apply` is False it leaves every bit, even if a buffer is not finite.
    """
    params, buffers, average, backup = state.params, state.buffers, state.ema.value, state.safe_buffers.value
    operator = average_operator(len(state.averaged)) if buffers else None  # it takes no empty tensor
    if operator is not None:

        def update_natively(apply, decay):
            operator(ops.stack((decay, apply.astype(ms.float32))), average, backup, *params, *buffers)

        return update_natively

    def update(apply, decay):
        values = flatten(params)
        if buffers:
            safe = ops.assign(backup, ops.select(apply, flatten(buffers), backup))
            values = ops.concat((values, safe))
        kept = ops.select(apply, decay, ops.ones_like(decay))
        ops.assign(average, ema_value(average, values, kept))

    return update


def _unscale_one(scale, gradient):
    return gradient / scale


def make_train_step(
    detector: nn.Cell,
    loss_fn: Callable,
    state: TrainState,
    *,
    optim: OptimConfig,
    spec: InputSpec,
    reduce_gradients: Callable | None = None,
    accumulate: int = 1,
    reduce_num_pos: Callable | None = None,
    compiled: bool = True,
) -> Callable:
    """Returns the training step: normalise, forward, loss, gradients, reduce, check, update, average.

    The step is compiled once for each shape of its batch. Learning rate, EMA decay and L1 weight are tensors, so
    that schedules and the switch to the last epochs never compile again. If the loss or any gradient is not finite,
    parameters, the optimizer's state, BN statistics and averages keep every bit. A call returns when the step is done.

    Args:
        detector: Cell from float32 images [B,3,H,W] to raw maps.
        loss_fn: pure function of (maps, gt_boxes, gt_classes, valid, l1_weight) that returns (total, losses, num_pos)
            as `detection_loss` does: a float32 scalar, a dict of float32 scalars by name, a float32 scalar. The names
            are free but for "total".
        state: made by `create_train_state` for this detector.
        optim: optimizer and its numbers, clipping and precision.
        spec: pixels that the detector takes.
        reduce_gradients: function from a tuple of tensors to the tuple averaged or summed over devices; it gets the
            gradients and, last, the total loss. See `yolox.distributed.gradient_reducer`.
        accumulate: the images of a step are computed in so many equal parts, one after the other, whose gradients are summed
            to those of the whole. Each part's loss counts by its divisor, so that the total of a `loss_fn` has to be a sum
            divided by max(num_pos, 1), or by `reduce_num_pos` of it, as that of `detection_loss` is. Statistics of BN are
            those of a part.
        reduce_num_pos: as in `detection_loss`, for the divisors of the parts.
        compiled: False runs the same operations one by one (PyNative), for a debugger or print in detector and loss.

    Returns:
        step(images uint8 [B,H,W,3] BGR, gt_boxes float32 [B,G,4] xyxy px, gt_classes int32 [B,G], valid bool [B,G],
        lr, ema_decay, l1_weight, loss_scale float32 scalars) -> (losses, num_pos, finite, gradient_sums).
        `losses` is a dict of scalars by name, "total" first. `gradient_sums` has one number for each trainable
        parameter, not finite where its gradient is not. `loss_scale` counts in float16 only and is 1 where it is
        left out.

    Raises:
        ValueError: the state is that of another optimizer.

    Source:
        Paper section 2.1 for the strategy; order of the operations as in Megvii's trainer, with the check added.
    """
    scaled, rule = optim.precision == "float16", OPTIMIZERS[optim.optimizer]
    if tuple(state.slots) != rule.slots:
        raise ValueError(
            f"make_train_step: the state has the slots {', '.join(state.slots)}, want {', '.join(rule.slots)}; "
            f"create_train_state takes optimizer={optim.optimizer!r}"
        )
    params, sum_gradients, update_average = state.params, make_gradient_sums(len(state.params)), _make_average_update(state)
    update_params, planes_of = rule.make_update(params, state.slots, state.updates, optim), planes_function(spec)

    def forward(images, gt_boxes, gt_classes, valid, l1_weight, loss_scale):
        maps = detector(normalize_images(images, spec=spec, planes_of=planes_of))
        total, losses, num_pos = loss_fn(maps, gt_boxes, gt_classes, valid, l1_weight)
        return total * loss_scale if scaled else total, total, losses, num_pos

    gradient_fn = ms.value_and_grad(forward, None, weights=ms.ParameterTuple(params), has_aux=True)

    def update_state(gradients, total, lr, ema_decay, loss_scale):
        checked = total
        if reduce_gradients is not None:  # the total too: devices must agree on whether a step is applied
            reduced = reduce_gradients(gradients + (total,))
            gradients, checked = reduced[:-1], reduced[-1]
        if scaled:
            gradients = tree_map(ops.partial(_unscale_one, loss_scale), gradients)
        sums = sum_gradients(gradients)
        checked = sums.sum() + checked + lr + ema_decay  # a rate that is not finite would reach all parameters
        if optim.clip_norm is not None:
            gradients, norm = clip_by_global_norm(gradients, optim.clip_norm)
            checked = checked + norm  # it overflows before the sums do, and would then scale everything to 0
        finite = ops.isfinite(checked)
        update_params(gradients, lr, finite)
        update_average(finite, ema_decay)  # of the new values: MindSpore keeps the order of what writes the same Parameters
        return finite, sums

    def step(images, gt_boxes, gt_classes, valid, lr, ema_decay, l1_weight, loss_scale):
        (_, total, losses, num_pos), gradients = gradient_fn(images, gt_boxes, gt_classes, valid, l1_weight, loss_scale)
        finite, sums = update_state(gradients, total, lr, ema_decay, loss_scale)
        # Names and values apart: a dict as output of a graph with AllReduce ends the process (2.10, memory planned by
        # optimize_level="O1": "can't find the merged block").
        return total, tuple(losses.keys()), tuple(losses.values()), num_pos, finite, sums

    wrap = compile_function if compiled else _as_it_is
    if accumulate > 1:
        update = _accumulated(gradient_fn, update_state, params, accumulate, reduce_num_pos, wrap)
    else:
        update = wrap(step)
    unscaled = Tensor(1.0, ms.float32)

    def run(images, gt_boxes, gt_classes, valid, lr, ema_decay, l1_weight, loss_scale=unscaled):
        detector.set_train(True)
        total, names, values, num_pos, finite, sums = update(
            images, gt_boxes, gt_classes, valid, lr, ema_decay, l1_weight, loss_scale
        )
        # Not in the graph: for every statistic a kernel more, a fifth of the time that nano takes to compile.
        if not bool(finite.asnumpy()):
            restore_buffers(state)
        return {"total": total, **dict(zip(names, values, strict=True))}, num_pos, finite, sums

    return run


def _as_it_is(function: Callable) -> Callable:
    return function


def _accumulated(gradient_fn, update_state, params, count, reduce_num_pos, wrap) -> Callable:
    """Returns the function that computes a step in parts: one graph adds a part's gradients, another one updates.

    The loss of a part is divided by its positives, as that of a whole batch is by all of them. So a part counts by its
    divisor, and the sum is divided by the divisor of all positives.
    """
    sums = tuple(Parameter(ops.zeros(p.shape, ms.float32), name=f"accumulated.{p.name}", requires_grad=False) for p in params)

    def divisor_of(num_pos):
        return ops.clamp(num_pos, min=1.0) if reduce_num_pos is None else reduce_num_pos(num_pos)

    def add(is_first, images, gt_boxes, gt_classes, valid, l1_weight, loss_scale):
        (_, total, losses, num_pos), gradients = gradient_fn(images, gt_boxes, gt_classes, valid, l1_weight, loss_scale)
        divisor = divisor_of(num_pos)
        added = tree_map(ops.partial(_add_one, is_first, divisor), sums, gradients)
        total = ops.depend(total, added)  # MindSpore 2.10 leaves assignments out of which only some results are used
        return total, tuple(losses.keys()), tuple(losses.values()), num_pos, divisor

    def finish(total, num_pos, lr, ema_decay, loss_scale):
        divisor = divisor_of(num_pos)
        gradients = tree_map(ops.partial(_unscale_one, divisor), sums)
        finite, sums_of_gradients = update_state(gradients, total / divisor, lr, ema_decay, loss_scale)
        return finite, sums_of_gradients, divisor

    add, finish = wrap(add), wrap(finish)

    def update(images, gt_boxes, gt_classes, valid, lr, ema_decay, l1_weight, loss_scale):
        batch = (images, gt_boxes, gt_classes, valid)
        if len(images) % count:
            raise ValueError(f"step: got {len(images)} images, want a multiple of accumulate, {count}")
        size, weighted, positives = len(images) // count, 0.0, 0.0
        for first in range(0, len(images), size):
            # copies: a slice of a tensor is a view, which branches in the graph would misread
            part = (Tensor(tensor.asnumpy()[first : first + size]) for tensor in batch)
            total, names, values, num_pos, divisor = add(Tensor(first == 0), *part, l1_weight, loss_scale)
            weighted = weighted + ops.stack((total, *values)) * divisor
            positives = positives + num_pos
        finite, sums_of_gradients, divisor = finish(weighted[0], positives, lr, ema_decay, loss_scale)
        total, *values = (weighted / divisor).unbind()
        return total, names, tuple(values), positives, finite, sums_of_gradients

    return update


def _add_one(is_first, weight, summed, gradient):
    before = ops.select(is_first, ops.zeros_like(summed), summed)
    return ops.assign(summed, before + weight * gradient)


def make_recipe_step(
    detector: nn.Cell,
    state: TrainState,
    recipe: Recipe,
    *,
    group: Group = Group(),
    loss_fn: Callable | None = None,
    compiled: bool = True,
    **loss_options,
) -> Callable:
    """Returns the training step that a recipe describes: `make_train_step` with `detection_loss` and the reducers.

    Args:
        detector: Cell from float32 images [B,3,H,W] to raw maps [B,5+C,H,W].
        state: made by `create_train_state` for this detector.
        recipe: its `assign`, `loss`, `optim` and `input` are used.
        group: the processes that train together.
        loss_fn: replaces `detection_loss`, as in `make_train_step`; the recipe's `assign` and `loss` then have no effect.
        compiled: False runs the step eagerly, as in `make_train_step`.
        **loss_options: other arguments of `detection_loss`: `assign_fn` (without it the form of SimOTA for the device in
            use, see `assign_fn_for`), `box_loss`, `cls_loss`, `strides`.

    Returns:
        The step of `make_train_step`.

    Raises:
        ValueError: both `loss_fn` and `loss_options` are given.
    """
    if loss_fn is not None and loss_options:
        raise ValueError(f"make_recipe_step: got loss_fn and {sorted(loss_options)}, want one of the two")
    reduce_gradients, reduce_num_pos = recipe_reducers(recipe, group)
    if recipe.optim.sync_bn:
        normalize_over_devices(detector, group)
    configs = {"assign": recipe.assign, "loss": recipe.loss, "reduce_num_pos": reduce_num_pos}
    configs |= {"assign_fn": assign_fn_for(ms.get_context("device_target")), **loss_options}

    def recipe_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
        return detection_loss(maps, gt_boxes, gt_classes, valid, l1_weight, **configs)

    return make_train_step(
        detector, loss_fn or recipe_loss, state, optim=recipe.optim, spec=recipe.input, reduce_gradients=reduce_gradients,
        accumulate=recipe.loader.accumulate, reduce_num_pos=reduce_num_pos, compiled=compiled,
    )  # fmt: skip


def assign_fn_for(device: str) -> Callable:
    """Returns the form of SimOTA for a device: both compute the same.

    The gathered form has loops and a branch that follow the number of ground truths, which saves work on CPU. On Ascend each
    turn of a loop would go back to the host, and a graph with them cannot be sunk as a whole: the dense form has neither.

    Args:
        device: "CPU", "Ascend", or another name of MindSpore's ``device_target``.

    Returns:
        `simota_assign_gathered` on CPU, else `simota_assign`.

    Source: chosen here; nothing was measured on Ascend.

    Example:
        >>> assign_fn_for("Ascend").__name__
        'simota_assign'
    """
    return simota_assign_gathered if device == "CPU" else simota_assign
