"""SimOTA in parts: regions of points, costs, matching, the composition, and targets for the losses."""

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.gathered import simota_assign_gathered
from yolox.assign.geometry import center_prior, in_box, own_region
from yolox.assign.matching import dynamic_k, dynamic_k_matching, select_k_lowest
from yolox.assign.simota import simota_assign
from yolox.assign.targets import cls_targets, obj_targets, positive_rows, truths_of

__all__ = [
    "center_prior",
    "class_cost",
    "class_terms",
    "cls_targets",
    "dynamic_k",
    "dynamic_k_matching",
    "in_box",
    "obj_targets",
    "own_region",
    "positive_rows",
    "simota_assign",
    "simota_assign_gathered",
    "simota_cost",
    "select_k_lowest",
    "truths_of",
]
