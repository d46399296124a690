"""A detector's forward pass in float64 numpy, from a released model's names and weights. It knows no Cell."""

from __future__ import annotations

import numpy as np

from tests.oracles.layers import activation, batch_norm, conv2d, focus, max_pool, upsample


class Network:
    """Megvii's layers by Megvii's names; `weights` maps names to arrays."""

    def __init__(self, weights, *, act, batch_stats):
        self.weights, self.act, self.batch_stats = weights, act, batch_stats

    def has(self, prefix):
        return any(name.startswith(prefix + ".") for name in self.weights)

    def layer(self, name, x, stride=1):
        """Convolution, BN, activation; twice where the layer is depthwise."""
        if self.has(f"{name}.dconv"):
            return self.layer(f"{name}.pconv", self.layer(f"{name}.dconv", x, stride))
        w = self.weights
        kernel = w[f"{name}.conv.weight"]
        y = conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
        statistics = () if self.batch_stats else (w[f"{name}.bn.running_mean"], w[f"{name}.bn.running_var"])
        return activation(batch_norm(y, w[f"{name}.bn.weight"], w[f"{name}.bn.bias"], *statistics), self.act)

    def csp(self, name, x, *, shortcut=False):
        a, b, i = self.layer(f"{name}.conv1", x), self.layer(f"{name}.conv2", x), 0
        while self.has(f"{name}.m.{i}"):
            y = self.layer(f"{name}.m.{i}.conv2", self.layer(f"{name}.m.{i}.conv1", a))
            a, i = (y + a if shortcut else y), i + 1
        return self.layer(f"{name}.conv3", np.concatenate((a, b), axis=1))

    def spp(self, name, x):
        x = self.layer(f"{name}.conv1", x)
        return self.layer(f"{name}.conv2", np.concatenate([x, *(max_pool(x, k) for k in (5, 9, 13))], axis=1))

    def chain(self, name, x, *, start=0, stride=1):
        """Run `name.0`, `name.1` and so on, each by its kind; `stride` is that of plain layers at `start`."""
        i = start
        while self.has(f"{name}.{i}"):
            item = f"{name}.{i}"
            if self.has(f"{item}.layer1"):
                x = x + self.layer(f"{item}.layer2", self.layer(f"{item}.layer1", x))
            elif self.has(f"{item}.conv2"):
                x = self.spp(item, x)
            else:
                x = self.layer(item, x, stride if i == start else 1)
            i += 1
        return x

    def csp_backbone(self, x):
        b, maps = "backbone.backbone", []
        x = self.layer(f"{b}.stem.conv", focus(x))
        for stage in ("dark2", "dark3", "dark4"):
            x = self.csp(f"{b}.{stage}.1", self.layer(f"{b}.{stage}.0", x, 2), shortcut=True)
            maps.append(x)
        x = self.spp(f"{b}.dark5.1", self.layer(f"{b}.dark5.0", x, 2))
        return maps[1], maps[2], self.csp(f"{b}.dark5.2", x)

    def pafpn(self, fine, middle, coarse):
        p5 = self.layer("backbone.lateral_conv0", coarse)
        p4 = self.csp("backbone.C3_p4", np.concatenate((upsample(p5), middle), axis=1))
        p4 = self.layer("backbone.reduce_conv1", p4)
        n3 = self.csp("backbone.C3_p3", np.concatenate((upsample(p4), fine), axis=1))
        n4 = np.concatenate((self.layer("backbone.bu_conv2", n3, 2), p4), axis=1)
        n4 = self.csp("backbone.C3_n3", n4)
        n5 = np.concatenate((self.layer("backbone.bu_conv1", n4, 2), p5), axis=1)
        return n3, n4, self.csp("backbone.C3_n4", n5)

    def darknet53(self, x):
        b = "backbone.backbone"
        x = self.layer(f"{b}.stem.0", x)
        x = self.chain(f"{b}.stem", x, start=1, stride=2)
        fine = self.chain(f"{b}.dark3", self.chain(f"{b}.dark2", x, stride=2), stride=2)
        middle = self.chain(f"{b}.dark4", fine, stride=2)
        return fine, middle, self.chain(f"{b}.dark5", middle, stride=2)

    def fpn(self, fine, middle, coarse):
        x = np.concatenate((upsample(self.layer("backbone.out1_cbl", coarse)), middle), axis=1)
        middle = self.chain("backbone.out1", x)
        x = np.concatenate((upsample(self.layer("backbone.out2_cbl", middle)), fine), axis=1)
        return self.chain("backbone.out2", x), middle, coarse

    def prediction(self, name, x):
        return conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def head(self, level, x):
        x = self.layer(f"head.stems.{level}", x)
        boxes, classes = self.chain(f"head.reg_convs.{level}", x), self.chain(f"head.cls_convs.{level}", x)
        parts = (("reg_preds", boxes), ("obj_preds", boxes), ("cls_preds", classes))
        return np.concatenate([self.prediction(f"head.{name}.{level}", part) for name, part in parts], axis=1)


def forward(weights, images, *, batch_stats):  # [B,3,H,W] -> three [B,5+C,h,w]
    """Compute raw maps in float64; LeakyReLU and YOLOv3's layers where the weights are Darknet-53's."""
    yolov3 = "backbone.out1_cbl.conv.weight" in weights
    net = Network(weights, act="lrelu" if yolov3 else "silu", batch_stats=batch_stats)
    images = np.asarray(images, np.float64)
    maps = net.fpn(*net.darknet53(images)) if yolov3 else net.pafpn(*net.csp_backbone(images))
    return [net.head(level, x) for level, x in enumerate(maps)]
