"""From decoded predictions to detections, COCO metrics and pictures. Only `predict` touches MindSpore."""

from yolox.eval.coco import METRIC_NAMES, detections_to_coco, evaluate_coco
from yolox.eval.draw import class_color, draw_detections
from yolox.eval.nms import batched_nms, nms
from yolox.eval.postprocess import Detections, postprocess
from yolox.eval.predict import make_eval_step, predict_dataset, predict_images

__all__ = [
    "METRIC_NAMES",
    "Detections",
    "batched_nms",
    "class_color",
    "detections_to_coco",
    "draw_detections",
    "evaluate_coco",
    "make_eval_step",
    "nms",
    "postprocess",
    "predict_dataset",
    "predict_images",
]
