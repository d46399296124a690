"""SimOTA in parts: geometry prior, costs, matching, the composition, and targets for the losses."""

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.geometry import center_prior, geometry_prior, in_box
from yolox.assign.matching import dynamic_k, dynamic_k_matching, select_k_lowest
from yolox.assign.simota import simota_assign, simota_assign_gathered
from yolox.assign.targets import cls_targets, gather_matched, obj_targets, positive_rows

__all__ = [
    "center_prior",
    "class_cost",
    "class_terms",
    "cls_targets",
    "dynamic_k",
    "dynamic_k_matching",
    "in_box",
    "obj_targets",
    "geometry_prior",
    "positive_rows",
    "simota_assign",
    "simota_assign_gathered",
    "simota_cost",
    "select_k_lowest",
    "gather_matched",
]
