"""The loss against the reference's numbers, a slow oracle and its own invariants."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from tests.assign.cases import at_a_kink, golden_cases, load_golden, random_case, to_maps
from tests.oracles import simota as oracle
from tests.oracles.decode import slow_flatten
from yolox.assign.simota import simota_assign
from yolox.config import AssignConfig, LossConfig
from yolox.decode import decode_boxes
from yolox.losses import binary_cross_entropy_with_logits
from yolox.yolox_loss import USUAL_POSITIVES, decoded_loss, detection_loss

NAMES = ["iou", "obj", "cls", "l1"]
DENSE = {"assign_fn": simota_assign}
"""For tests of what does not depend on the assignment: this one compiles in half the time."""


def numbers(total, losses, num_pos):
    """The result of a loss as floats: total, the losses by `NAMES`, the number of positives."""
    assert list(losses) == NAMES
    return [float(value) for value in (total, *losses.values(), num_pos)]


def value_and_grad(**options):
    # Maps one by one: a tuple given to a compiled function from outside is a constant, compiled for each value.
    def loss(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight):
        return detection_loss((fine, middle, coarse), gt_boxes, gt_classes, valid, l1_weight, **options)

    return ms.value_and_grad(loss, (0, 1, 2), has_aux=True)


def jitted(**options):
    step = value_and_grad(**options)

    @ms.jit
    def run(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight):
        (total, losses, num_pos), gradients = step(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight)
        return total, tuple(losses.keys()), tuple(losses.values()), num_pos, gradients

    def unpacked(*arguments):
        # a dict as output of a compiled function can end the process, once memory is planned for whole graphs (use_device)
        total, names, values, num_pos, gradients = run(*arguments)
        return (total, dict(zip(names, values, strict=True)), num_pos), gradients

    return unpacked


def _assert_golden(case, suffix, result, gt, name):
    values, gradients = result
    got, want = np.array(numbers(*values)), case["losses" + suffix]
    np.testing.assert_allclose(got[:5], want[:5], rtol=1e-4, err_msg=name)
    per_gt = max(got[5], 1) / max(int(gt[2].asnumpy().sum()), 1)
    np.testing.assert_allclose(per_gt, want[5], rtol=1e-4, err_msg=name)
    got = slow_flatten(*(gradient.asnumpy() for gradient in gradients))
    want = slow_flatten(*(case[f"grad{level}{suffix}"] for level in range(3)))
    kinks = at_a_kink(case)
    assert kinks.sum() <= 2  # of some hundred positives; in 47 folders of other seeds there were two of 69,046
    compared = np.ones(got.shape, bool)
    compared[..., :4] = ~kinks[..., None]
    np.testing.assert_allclose(got[compared], want[compared], rtol=1e-3, atol=1e-5, err_msg=name)


FAST = {"jit": {"assign_crowded.npz"}, "eager": {"assign_empty_image.npz"}}  # each shape is compiled; the others are slow tests
MODES = ["eager", "jit"]
GOLDEN = [(mode, True) for mode in MODES] + [pytest.param(mode, False, marks=pytest.mark.slow) for mode in MODES]


@pytest.mark.parametrize(("mode", "few"), GOLDEN)
def test_losses_and_gradients_of_every_golden_case(golden_dir, mode, few):
    step = value_and_grad() if mode == "eager" else jitted()
    for path in golden_cases(golden_dir):
        if (path.name in FAST[mode]) != few:
            continue
        case, maps, gt = load_golden(path)
        for suffix, weight in (("", 0.0), ("_l1", 1.0)):
            result = step(*maps, *gt, Tensor(weight, ms.float32))
            _assert_golden(case, suffix, result, gt, path.name + suffix)


SIZE = (64, 96)


def _random(kind, *, rows=5, seed=0):
    case = random_case(np.random.default_rng(seed), kind=kind, batch=2, rows=rows, size=SIZE)
    raw, _, _, _, gt_boxes, gt_classes, valid = case
    maps = tuple(Tensor(level) for level in to_maps(raw, SIZE))
    return case, maps, (Tensor(gt_boxes.astype(np.float32)), Tensor(gt_classes.astype(np.int32)), Tensor(valid))


@pytest.mark.parametrize("kind", ["good", "crowded"])
def test_losses_equal_nested_loops(kind):
    case, maps, gt = _random(kind, seed=3)
    raw, boxes, points, strides, gt_boxes, gt_classes, valid = case
    matched_gt, iou = oracle.assign(boxes, raw[..., 4], raw[..., 5:], points, strides, gt_boxes, gt_classes, valid)
    want = oracle.detection_loss(raw, boxes, points, strides, gt_boxes, gt_classes, matched_gt, iou)
    got = numbers(*detection_loss(maps, *gt, Tensor(1.0)))
    np.testing.assert_allclose(got[:5], want, rtol=1e-4)
    assert got[5] == (matched_gt >= 0).sum() > 0


def test_class_weights_are_those_of_the_ground_truth_of_each_positive():
    case, maps, gt = _random("good", seed=3)
    raw, boxes, points, strides, gt_boxes, gt_classes, valid = case
    weights = tuple(0.5 + index for index in range(raw.shape[-1] - 5))
    assert len(set(gt_classes[valid].tolist())) > 1
    matched_gt, iou = oracle.assign(boxes, raw[..., 4], raw[..., 5:], points, strides, gt_boxes, gt_classes, valid)
    want = oracle.detection_loss(raw, boxes, points, strides, gt_boxes, gt_classes, matched_gt, iou, weights)
    plain, options = numbers(*detection_loss(maps, *gt, Tensor(1.0))), {"loss": LossConfig(class_weights=weights), **DENSE}
    for run in (value_and_grad(**options), jitted(**options)):
        values, _ = run(*maps, *gt, Tensor(1.0))
        got = numbers(*values)
        np.testing.assert_allclose(got[:5], want, rtol=1e-4)
        assert abs(got[3] - plain[3]) > 0.1 and got[1] == pytest.approx(plain[1])


def test_many_positives_and_few_give_the_same_sums():
    # More positives than USUAL_POSITIVES an image, in the branch for many; the dense form is the reference.
    rng = np.random.default_rng(0)
    raw, _, points, strides, gt_boxes, gt_classes, _ = random_case(
        rng, kind="good", batch=1, rows=40, size=(128, 128), classes=2
    )
    gt = (Tensor(gt_boxes), Tensor(gt_classes.astype(np.int32)), Tensor(np.ones((1, 40), bool)))
    decoded = np.concatenate([decode_boxes(Tensor(raw), Tensor(points), Tensor(strides)).asnumpy(), raw[..., 4:]], -1)
    places = (Tensor(points), Tensor(strides))
    everyone = np.zeros((1, len(points)), np.int32)
    everyone[:, USUAL_POSITIVES + 20 :] = -1

    def many(*_, config):
        return Tensor(everyone), Tensor(np.full(everyone.shape, 0.5, np.float32))

    got = numbers(*decoded_loss(Tensor(decoded), *places, *gt, assign_fn=many))
    assert got[5] == USUAL_POSITIVES + 20
    want = oracle.detection_loss(
        raw, decoded[..., :4], points, strides, gt[0].asnumpy(), gt[1].asnumpy(), everyone, everyone * 0 + 0.5
    )
    np.testing.assert_allclose(got[1:4], want[1:4], rtol=1e-4)


def test_decoded_predictions_have_the_losses_of_their_maps():
    case, maps, gt = _random("good", seed=1)
    raw, _, points, strides, *_ = case
    places = (Tensor(points), Tensor(strides))
    decoded = np.concatenate([decode_boxes(Tensor(raw), *places).asnumpy(), raw[..., 4:]], -1)
    want = numbers(*detection_loss(maps, *gt, Tensor(0.0)))
    for assign_fn in (None, simota_assign):
        options = {} if assign_fn is None else {"assign_fn": assign_fn}
        got = numbers(*decoded_loss(Tensor(decoded), *places, *gt, **options))
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_weights_and_number_of_positives_are_arguments():
    _, maps, gt = _random("good", seed=1)
    default = numbers(*detection_loss(maps, *gt, Tensor(1.0)))
    heavy = LossConfig(loss_iou_weight=10.0, loss_obj_weight=3.0, loss_cls_weight=0.5)
    total, *parts, _ = numbers(
        *detection_loss(maps, *gt, Tensor(2.0), loss=heavy, reduce_num_pos=lambda count: count * 2)
    )
    want = [part * factor / 2 for part, factor in zip(default[1:5], (2, 3, 0.5, 2), strict=True)]
    np.testing.assert_allclose(parts, want, rtol=1e-5)
    np.testing.assert_allclose(total, sum(want), rtol=1e-5)


def test_without_ground_truths_only_objectness_is_left():
    _, maps, gt = _random("mixed")
    nothing = Tensor(np.zeros((2, 5), bool))
    values, gradients = value_and_grad()(*maps, *gt[:2], nothing, Tensor(1.0))
    total, iou, obj, cls, l1, num_pos = numbers(*values)
    assert iou == cls == l1 == num_pos == 0 and obj == total > 0
    for gradient in gradients:
        touched = np.abs(gradient.asnumpy()).max((0, 2, 3)) > 0
        assert touched[4] and touched.sum() == 1


@pytest.mark.parametrize("mode", ["eager", pytest.param("jit", marks=pytest.mark.slow)])
def test_zero_rows_are_images_without_objects(mode):
    _, maps, gt = _random("mixed")
    nothing = tuple(Tensor(part.asnumpy()[:, :0]) for part in gt)
    padding = (*gt[:2], Tensor(np.zeros((2, 5), bool)))
    step = value_and_grad() if mode == "eager" else jitted()
    (values, gradients), (want, wanted) = (step(*maps, *gts, Tensor(1.0)) for gts in (nothing, padding))
    assert numbers(*values) == numbers(*want)
    for gradient, expected in zip(gradients, wanted, strict=True):
        np.testing.assert_array_equal(gradient.asnumpy(), expected.asnumpy())


def test_overflow_elsewhere_does_not_reach_owned_points():
    _, maps, gt = _random("good", seed=1)
    step = value_and_grad()
    _, gradients = step(*maps, *gt, Tensor(0.0))
    owned = np.abs(gradients[0].asnumpy()[:, :4]).sum(1) > 0
    wild = maps[0].asnumpy().copy()
    wild[:, 2:4] = np.where(owned[:, None], wild[:, 2:4], 500.0)  # exp(500) overflows
    (total, *_), gradients = step(Tensor(wild), *maps[1:], *gt, Tensor(1.0))
    assert np.isfinite(total.item()) and all(np.isfinite(g.asnumpy()).all() for g in gradients)


def test_half_precision_maps_give_float32_losses():
    _, maps, gt = _random("good", seed=1)
    half = tuple(level.astype(ms.float16) for level in maps)
    total, losses, num_pos = detection_loss(half, *gt, Tensor(1.0))
    assert {part.dtype for part in (total, *losses.values(), num_pos)} == {ms.float32}
    want = detection_loss(tuple(level.astype(ms.float32) for level in half), *gt, Tensor(1.0))[0]
    assert total.item() == want.item()


def test_the_other_rule_is_a_value():
    _, maps, gt = _random("tiny", seed=4)
    counts = [
        detection_loss(maps, *gt, Tensor(0.0), assign=assign)[2].item()
        for assign in (AssignConfig(), AssignConfig(prior="box_and_center", outside_penalty=1000.0))
    ]
    assert counts[0] > counts[1]


def test_says_what_does_not_fit():
    _, maps, gt = _random("mixed")
    with pytest.raises(ValueError, match="got 2 maps and 3 strides"):
        detection_loss(maps[:2], *gt, Tensor(0.0))
    with pytest.raises(ValueError, match=r"a map of stride 16 has shape \(2, 8, 8, 12\), want 4 x 6 cells"):
        detection_loss((maps[0], maps[0], maps[2]), *gt, Tensor(0.0))


def wide_box_loss(boxes, gt_boxes):  # xyxy [N,4],[N,4] -> [N]
    """A loss on corners that differs from the default everywhere."""
    return ((boxes - gt_boxes) ** 2).sum(-1) * 0.001


def focal_loss(logits, targets):  # [N,C],[N,C] -> [N,C]
    return binary_cross_entropy_with_logits(logits, targets) * (targets - ops.sigmoid(logits)) ** 2


@pytest.mark.parametrize("hooks", [{"box_loss": wide_box_loss}, pytest.param({"cls_loss": focal_loss}, marks=pytest.mark.slow)])
def test_hooks_replace_one_loss_and_its_gradient_in_both_modes(hooks):
    _, maps, gt = _random("good", seed=1)
    (values, gradients), (_, default) = (value_and_grad(**h, **DENSE)(*maps, *gt, Tensor(0.0)) for h in (hooks, {}))
    compiled, compiled_gradients = jitted(**hooks, **DENSE)(*maps, *gt, Tensor(0.0))
    np.testing.assert_allclose(numbers(*compiled), numbers(*values), rtol=1e-5)
    replaced = slice(0, 4) if "box_loss" in hooks else slice(5, None)
    kept = slice(4, None) if "box_loss" in hooks else slice(0, 5)
    for got, other, want in zip(gradients, compiled_gradients, default, strict=True):
        got, other, want = got.asnumpy(), other.asnumpy(), want.asnumpy()
        np.testing.assert_allclose(other, got, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(got[:, kept], want[:, kept], rtol=1e-5, atol=1e-7)
        assert np.isfinite(got).all()
    assert np.abs(gradients[0].asnumpy()[:, replaced] - default[0].asnumpy()[:, replaced]).max() > 1e-4


@pytest.mark.parametrize("hooks", [{"box_loss": wide_box_loss}, {"cls_loss": focal_loss}])
def test_gradients_of_hooks_are_those_of_differences(hooks):
    _, maps, gt = _random("good", seed=1)
    _, gradients = value_and_grad(**hooks, **DENSE)(*maps, *gt, Tensor(0.0))
    channel = 0 if "box_loss" in hooks else 6
    gradient = gradients[0].asnumpy()[:, channel]
    place = (*np.unravel_index(np.abs(gradient).argmax(), gradient.shape),)
    index, sums, matched = (place[0], channel, *place[1:]), [], []

    def first_assignment(*parts, config):  # differences at a fixed assignment
        if not matched:
            matched.append(simota_assign(*parts, config=config))
        return matched[0]

    detection_loss(maps, *gt, Tensor(0.0), assign_fn=first_assignment)
    for sign in (1, -1):
        moved = maps[0].asnumpy().copy()
        moved[index] += sign * 1e-2
        _, losses, _ = detection_loss((Tensor(moved), *maps[1:]), *gt, Tensor(0.0), assign_fn=first_assignment, **hooks)
        sums.append(losses["iou"].item() + losses["cls"].item())
    assert gradients[0].asnumpy()[index] == pytest.approx((sums[0] - sums[1]) / 2e-2, rel=0.02)
