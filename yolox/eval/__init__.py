"""From decoded predictions to detections and COCO metrics. Only `predict` and `evaluate` use MindSpore."""

from yolox.eval.coco import METRIC_NAMES, detections_to_coco, evaluate_coco
from yolox.eval.nms import batched_nms, nms
from yolox.eval.postprocess import Detections, postprocess
from yolox.eval.predict import make_eval_step, predict_dataset, predict_images

__all__ = [
    "METRIC_NAMES",
    "Detections",
    "batched_nms",
    "detections_to_coco",
    "evaluate_coco",
    "make_eval_step",
    "nms",
    "postprocess",
    "predict_dataset",
    "predict_images",
]
