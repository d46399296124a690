"""YOLOX on MindSpore: the flat list of public names, and nothing else."""

from yolox import environment  # noqa: F401 I001 (first: it chooses the fast CPU path before MindSpore's first operation)
from yolox import models
from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.simota import simota_assign_gathered
from yolox.assign.geometry import center_prior, in_box, geometry_prior
from yolox.assign.matching import dynamic_k, dynamic_k_matching
from yolox.assign.simota import simota_assign
from yolox.assign.targets import cls_targets, obj_targets, positive_rows, gather_matched
from yolox.boxes import (
    area,
    cxcywh_to_xyxy,
    elementwise_iou,
    pairwise_iou,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
)
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.config import (
    AssignConfig,
    AugmentConfig,
    InputSpec,
    LoaderConfig,
    LossConfig,
    OptimConfig,
    PostprocessConfig,
    Recipe,
)
from yolox.data.classes import COCO_NAMES, as_one_class
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset, ground_truth
from yolox.data.check import check_dataset
from yolox.data.voc import read_voc_data
from yolox.data.yolo import read_yolo_data
from yolox.data.batches import steps_per_epoch
from yolox.data.loader import eval_batches, train_batches
from yolox.data.letterbox import letterbox
from yolox.data.sample import Sample
from yolox.decode import decode_boxes, decode_predictions, encode_boxes, flatten_levels, split_predictions
from yolox.yolox_loss import decoded_loss, detection_loss
from yolox.eval import (
    Detections,
    batched_nms,
    detections_to_coco,
    evaluate_coco,
    make_eval_step,
    nms,
    postprocess,
    predict_dataset,
    predict_images,
)
from yolox.eval.evaluate import make_evaluator
from yolox.eval.tiles import Tiles
from yolox.export import ExportedDetector, export_detector, open_exported
from yolox.recipe_changes import finetune_recipe
from yolox.errors import TrainingDiverged
from yolox.model import Model, evaluate, load, predict
from yolox.training.loop import TrainingStopped, fit
from yolox.training.freeze import freeze
from yolox.losses import binary_cross_entropy_with_logits, iou_loss, l1_loss
from yolox.nn import FPN, PAFPN, CSPDarknet, Darknet53, DecoupledHead, Detector, initialise
from yolox.nn.functional import normalize_images
from yolox.training.overfit import overfit
from yolox.visualize.assignment import visualize_assign
from yolox.visualize.draw import draw_detections
from yolox.data.convert import convert_data
from yolox.data.duplicates import find_leaks
from yolox.data.layout import find_layout, read_data
from yolox.data.split import split_data
from yolox.data.write import write_coco, write_voc, write_yolo
from yolox.decode import make_points
from yolox.training.progress import TrainingProgress
from yolox.config_io import read_recipe, save_recipe
from yolox.recipe_changes import with_epochs, with_input_size
from yolox.recipes import (
    megvii_recipe,
    mindyolo_recipe,
    paddle_recipe,
    published_ap,
    published_recipes,
    rtmdet_recipe,
)
from yolox.training.callbacks import EpochEvent, StepEvent
from yolox.training.resume import restore_state, save_state
from yolox.schedule import ema_decay, ema_value, learning_rate
from yolox.training.trainer import TrainingRun, train
from yolox.training.profile import Profile
from yolox.training.callbacks import Callback, EarlyStopping, MLflow, StopTraining, TensorBoard
from yolox.training.step import TrainState, create_train_state, make_recipe_step, make_train_step
from yolox.weights.load import load_weights

__version__ = environment.library_version()

__all__ = [
    "__version__",
    "Callback",
    "EarlyStopping",
    "MLflow",
    "StopTraining",
    "TensorBoard",
    "TrainingRun",
    "train",
    "AssignConfig",
    "AugmentConfig",
    "COCO_NAMES",
    "CSPDarknet",
    "Darknet53",
    "DecoupledHead",
    "DetectionDataset",
    "Detections",
    "Detector",
    "EpochEvent",
    "ExportedDetector",
    "FPN",
    "InputSpec",
    "LoaderConfig",
    "LossConfig",
    "Model",
    "OptimConfig",
    "PAFPN",
    "TrainingProgress",
    "PostprocessConfig",
    "Profile",
    "Recipe",
    "Sample",
    "StepEvent",
    "Tiles",
    "TrainState",
    "TrainingDiverged",
    "TrainingStopped",
    "area",
    "as_one_class",
    "batched_nms",
    "binary_cross_entropy_with_logits",
    "center_prior",
    "check_dataset",
    "class_cost",
    "class_terms",
    "cls_targets",
    "convert_data",
    "create_train_state",
    "cxcywh_to_xyxy",
    "decode_boxes",
    "decode_predictions",
    "decoded_loss",
    "detection_loss",
    "detections_to_coco",
    "draw_detections",
    "dynamic_k",
    "dynamic_k_matching",
    "elementwise_iou",
    "ema_decay",
    "ema_value",
    "encode_boxes",
    "eval_batches",
    "evaluate",
    "evaluate_coco",
    "export_detector",
    "find_leaks",
    "find_layout",
    "finetune_recipe",
    "fit",
    "flatten_levels",
    "freeze",
    "ground_truth",
    "in_box",
    "initialise",
    "iou_loss",
    "l1_loss",
    "learning_rate",
    "letterbox",
    "load",
    "load_checkpoint",
    "load_weights",
    "make_eval_step",
    "make_evaluator",
    "make_points",
    "make_recipe_step",
    "make_train_step",
    "megvii_recipe",
    "mindyolo_recipe",
    "paddle_recipe",
    "published_ap",
    "published_recipes",
    "read_recipe",
    "rtmdet_recipe",
    "save_recipe",
    "models",
    "nms",
    "normalize_images",
    "obj_targets",
    "open_exported",
    "overfit",
    "geometry_prior",
    "pairwise_iou",
    "positive_rows",
    "postprocess",
    "predict",
    "predict_dataset",
    "predict_images",
    "read_coco",
    "read_data",
    "read_voc_data",
    "read_yolo_data",
    "restore_state",
    "save_checkpoint",
    "save_state",
    "simota_assign",
    "simota_assign_gathered",
    "simota_cost",
    "split_data",
    "split_predictions",
    "steps_per_epoch",
    "train_batches",
    "gather_matched",
    "visualize_assign",
    "with_epochs",
    "with_input_size",
    "write_coco",
    "write_voc",
    "write_yolo",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
]
