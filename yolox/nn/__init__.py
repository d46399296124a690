"""Layers that own parameters: blocks, backbones, necks, heads and the detector."""

from yolox.nn.backbones import CSPDarknet, Darknet53
from yolox.nn.blocks import (
    Bottleneck,
    ConvBNAct,
    CSPLayer,
    DepthwiseConv,
    Focus,
    ResLayer,
    SPPBottleneck,
    make_conv,
    set_precision,
)
from yolox.nn.detector import STRIDES, Detector, count_flops, count_parameters, initialise
from yolox.nn.fold import fold_batch_norm, fold_detector
from yolox.nn.functional import space_to_depth, upsample2x
from yolox.nn.heads import DecoupledHead
from yolox.nn.layers import make_activation
from yolox.nn.necks import FPN, PAFPN

__all__ = [
    "FPN",
    "PAFPN",
    "STRIDES",
    "Bottleneck",
    "CSPDarknet",
    "CSPLayer",
    "ConvBNAct",
    "Darknet53",
    "DecoupledHead",
    "DepthwiseConv",
    "Detector",
    "Focus",
    "ResLayer",
    "SPPBottleneck",
    "count_flops",
    "count_parameters",
    "fold_batch_norm",
    "fold_detector",
    "initialise",
    "make_activation",
    "make_conv",
    "set_precision",
    "space_to_depth",
    "upsample2x",
]
