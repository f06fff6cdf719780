"""The two networks: straight chains of depthwise-separable blocks (after MobileNet), to be cut between any two.

The last feature map is pooled by its maximum: a fault is small, and an average would drown it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

ACTIVATION_MAX = 6.0


@dataclass(frozen=True, slots=True)
class Block:
    """A 3x3 depthwise and a 1x1 pointwise convolution, or one `dense` 3x3 one; each with batch norm and ReLU6."""

    channels: int
    stride: int = 1
    dense: bool = False


@dataclass(frozen=True, slots=True)
class Design:
    """A network's plan: `side_px` of its square input, the stem's channels, the blocks in order."""

    name: str
    side_px: int
    stem: int
    blocks: tuple[Block, ...]

    @property
    def features(self) -> int:
        return self.blocks[-1].channels

    @property
    def reach_px(self) -> int:
        """Input pixels a cell of the last feature map stands for: the product of all strides."""
        return 2 * math.prod(block.stride for block in self.blocks)


LITTLE = Design(
    "surface-little",
    96,
    8,
    (Block(16, 2), Block(24), Block(32, 2), Block(48)),
)
BIG = Design(
    "surface-big",
    160,
    24,
    (Block(48, 2, dense=True), Block(48), Block(96, 2), Block(96), Block(96), Block(192, 2), Block(192), Block(192)),
)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            norm=nn.BatchNorm2d(outputs),
            act=nn.ReLU6(),
        )
    )


def build(design: Design, classes: int) -> nn.Sequential:
    """The trainable network; its children's names become the ONNX nodes' names."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = _convolution(3, design.stem, 3, 2, 1)
    width = design.stem
    for number, block in enumerate(design.blocks, 1):
        parts[f"block{number}"] = nn.Sequential(
            OrderedDict(dense=_convolution(width, block.channels, 3, block.stride, 1))
            if block.dense
            else OrderedDict(
                depthwise=_convolution(width, width, 3, block.stride, width),
                pointwise=_convolution(width, block.channels, 1, 1, 1),
            )
        )
        width = block.channels
    parts["pool"] = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    parts["drop"] = nn.Dropout(0.1)
    parts["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(parts)


def folded(stage: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """A convolution's weight and bias with its batch norm folded in: w * g / s, b - m * g / s."""
    conv, norm = stage.get_submodule("conv"), stage.get_submodule("norm")
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale[:, None, None, None]
    return weight.detach(), (norm.bias - norm.running_mean * scale).detach()
