"""The loss against the reference's numbers, a slow oracle and its own invariants."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from tests.assign.cases import at_a_kink, golden_cases, load_golden, random_case, to_maps
from tests.oracles import simota as oracle
from tests.oracles.decode import slow_flatten
from yolox.assign.simota import simota_assign
from yolox.config import AssignConfig, LossConfig
from yolox.decode import decode_boxes
from yolox.detection_loss import USUAL_POSITIVES, Losses, decoded_loss, detection_loss


def value_and_grad(**options):
    # Maps one by one: a tuple given to a compiled function from outside is a constant, compiled for each value.
    def loss(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight):
        return detection_loss((fine, middle, coarse), gt_boxes, gt_classes, valid, l1_weight, **options)

    return ms.value_and_grad(loss, (0, 1, 2), has_aux=True)


def jitted(**options):
    step = value_and_grad(**options)

    @ms.jit
    def run(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight):
        return step(fine, middle, coarse, gt_boxes, gt_classes, valid, l1_weight)

    return run


def _assert_golden(case, suffix, result, truths, name):
    (total, parts), gradients = result
    got, want = np.array([float(part) for part in (total, *parts)]), case["losses" + suffix]
    np.testing.assert_allclose(got[:5], want[:5], rtol=1e-4, err_msg=name)
    per_truth = max(got[5], 1) / max(int(truths[2].asnumpy().sum()), 1)
    np.testing.assert_allclose(per_truth, want[5], rtol=1e-4, err_msg=name)
    got = slow_flatten(*(gradient.asnumpy() for gradient in gradients))
    want = slow_flatten(*(case[f"grad{level}{suffix}"] for level in range(3)))
    kinks = at_a_kink(case)
    assert kinks.sum() <= 2  # of some hundred positives; in 47 folders of other seeds there were two of 69,046
    compared = np.ones(got.shape, bool)
    compared[..., :4] = ~kinks[..., None]
    np.testing.assert_allclose(got[compared], want[compared], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mode", [pytest.param("eager", marks=pytest.mark.slow), "jit"])
def test_losses_and_gradients_of_every_golden_case(golden_dir, mode):
    step = value_and_grad() if mode == "eager" else jitted()
    for path in golden_cases(golden_dir):
        case, maps, truths = load_golden(path)
        for suffix, weight in (("", 0.0), ("_l1", 1.0)):
            result = step(*maps, *truths, Tensor(weight, ms.float32))
            _assert_golden(case, suffix, result, truths, path.name + suffix)


SIZE = (64, 96)


def _random(kind, *, rows=5, seed=0):
    case = random_case(np.random.default_rng(seed), kind=kind, batch=2, rows=rows, size=SIZE)
    raw, _, _, _, gt_boxes, gt_classes, valid = case
    maps = tuple(Tensor(level) for level in to_maps(raw, SIZE))
    return case, maps, (Tensor(gt_boxes.astype(np.float32)), Tensor(gt_classes.astype(np.int32)), Tensor(valid))


@pytest.mark.parametrize("kind", ["good", "crowded"])
def test_losses_of_plain_loops(kind):
    case, maps, truths = _random(kind, seed=3)
    raw, boxes, points, strides, gt_boxes, gt_classes, valid = case
    owner, iou = oracle.assign(boxes, raw[..., 4], raw[..., 5:], points, strides, gt_boxes, gt_classes, valid)
    want = oracle.detection_loss(raw, boxes, points, strides, gt_boxes, gt_classes, owner, iou)
    losses = Losses(*(lambda total, parts: (total, *parts))(*detection_loss(maps, *truths, Tensor(1.0))))
    got = [part.item() for part in losses]
    np.testing.assert_allclose(got[:5], want, rtol=1e-4)
    assert got[5] == (owner >= 0).sum() > 0


def test_many_positives_and_few_give_the_same_sums():
    # More positives than USUAL_POSITIVES an image, in the branch for many; the dense form decides the owners.
    rng = np.random.default_rng(0)
    raw, _, points, strides, gt_boxes, gt_classes, _ = random_case(
        rng, kind="good", batch=1, rows=40, size=(128, 128), classes=2
    )
    truths = (Tensor(gt_boxes), Tensor(gt_classes.astype(np.int32)), Tensor(np.ones((1, 40), bool)))
    decoded = np.concatenate([decode_boxes(Tensor(raw), Tensor(points), Tensor(strides)).asnumpy(), raw[..., 4:]], -1)
    places = (Tensor(points), Tensor(strides))
    everyone = np.zeros((1, len(points)), np.int32)
    everyone[:, USUAL_POSITIVES + 20 :] = -1

    def many(*_, config):
        return Tensor(everyone), Tensor(np.full(everyone.shape, 0.5, np.float32))

    _, parts = decoded_loss(Tensor(decoded), *places, *truths, assign_fn=many)
    assert parts[4].item() == USUAL_POSITIVES + 20
    want = oracle.detection_loss(
        raw, decoded[..., :4], points, strides, truths[0].asnumpy(), truths[1].asnumpy(), everyone, everyone * 0 + 0.5
    )
    np.testing.assert_allclose([part.item() for part in parts[:3]], want[1:4], rtol=1e-4)


def test_decoded_predictions_have_the_losses_of_their_maps():
    case, maps, truths = _random("good", seed=1)
    raw, _, points, strides, *_ = case
    places = (Tensor(points), Tensor(strides))
    decoded = np.concatenate([decode_boxes(Tensor(raw), *places).asnumpy(), raw[..., 4:]], -1)
    want = detection_loss(maps, *truths, Tensor(0.0))
    for assign_fn in (None, simota_assign):
        options = {} if assign_fn is None else {"assign_fn": assign_fn}
        got = decoded_loss(Tensor(decoded), *places, *truths, **options)
        np.testing.assert_allclose(
            [v.item() for v in (got[0], *got[1])], [v.item() for v in (want[0], *want[1])], rtol=1e-5
        )


def test_weights_and_number_of_positives_are_arguments():
    _, maps, truths = _random("good", seed=1)
    plain = detection_loss(maps, *truths, Tensor(1.0))
    heavy = LossConfig(loss_iou_weight=10.0, loss_obj_weight=3.0, loss_cls_weight=0.5)
    total, parts = detection_loss(maps, *truths, Tensor(2.0), loss=heavy, reduce_num_pos=lambda count: count * 2)
    want = [part.item() * factor / 2 for part, factor in zip(plain[1], (2, 3, 0.5, 2), strict=False)]
    np.testing.assert_allclose([part.item() for part in parts[:4]], want, rtol=1e-5)
    np.testing.assert_allclose(total.item(), sum(want), rtol=1e-5)


def test_no_truths_leave_objectness_only():
    _, maps, truths = _random("mixed")
    nothing = Tensor(np.zeros((2, 5), bool))
    (total, parts), gradients = value_and_grad()(*maps, *truths[:2], nothing, Tensor(1.0))
    values = [part.item() for part in parts]
    assert values[0] == values[2] == values[3] == values[4] == 0 and values[1] == total.item() > 0
    for gradient in gradients:
        touched = np.abs(gradient.asnumpy()).max((0, 2, 3)) > 0
        assert touched[4] and touched.sum() == 1


def test_overflow_elsewhere_does_not_reach_owned_points():
    _, maps, truths = _random("good", seed=1)
    step = value_and_grad()
    (_, parts), gradients = step(*maps, *truths, Tensor(0.0))
    owned = np.abs(gradients[0].asnumpy()[:, :4]).sum(1) > 0
    wild = maps[0].asnumpy().copy()
    wild[:, 2:4] = np.where(owned[:, None], wild[:, 2:4], 500.0)  # exp(500) overflows
    (total, _), gradients = step(Tensor(wild), *maps[1:], *truths, Tensor(1.0))
    assert np.isfinite(total.item()) and all(np.isfinite(g.asnumpy()).all() for g in gradients)


def test_half_precision_maps_give_float32_losses():
    _, maps, truths = _random("good", seed=1)
    half = tuple(level.astype(ms.float16) for level in maps)
    total, parts = detection_loss(half, *truths, Tensor(1.0))
    assert {part.dtype for part in (total, *parts)} == {ms.float32}
    want = detection_loss(tuple(level.astype(ms.float32) for level in half), *truths, Tensor(1.0))[0]
    assert total.item() == want.item()


def test_the_other_rule_is_a_value():
    _, maps, truths = _random("tiny", seed=4)
    counts = [
        detection_loss(maps, *truths, Tensor(0.0), assign=assign)[1][4].item()
        for assign in (AssignConfig(), AssignConfig(prior="box_and_center", outside_penalty=1000.0))
    ]
    assert counts[0] > counts[1]


def test_says_what_does_not_fit():
    _, maps, truths = _random("mixed")
    with pytest.raises(ValueError, match="got 2 maps and 3 strides"):
        detection_loss(maps[:2], *truths, Tensor(0.0))
    with pytest.raises(ValueError, match=r"a map of stride 16 has shape \(2, 8, 8, 12\), want 4 x 6 cells"):
        detection_loss((maps[0], maps[0], maps[2]), *truths, Tensor(0.0))
