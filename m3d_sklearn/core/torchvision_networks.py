"""torchvision's networks with stems for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, ResNet

from m3d_sklearn.core.layers import instance_norm, need_images

__all__ = ["SmallDenseNet", "SmallResNet", "make"]

BLOCKS = {"resnet10": [1, 1, 1, 1], "resnet18": [2, 2, 2, 2]}


def make(name: str, input_shape: tuple[int, int, int], n_outputs: int) -> nn.Module:
    """The network of a name: "resnet10", "resnet18" or "densenet121"."""
    if name == "densenet121":
        return SmallDenseNet(input_shape, n_outputs)
    return SmallResNet(input_shape, n_outputs, name=name, blocks=BLOCKS[name])


class SmallResNet(ResNet):
    """torchvision's ResNet behind a 3×3 stem without pooling, with instance norm for batch norm."""

    def __init__(
        self, input_shape: tuple[int, int, int], n_outputs: int, *, name: str, blocks: list[int]
    ) -> None:
        need_images(input_shape, name, smallest=16)
        super().__init__(BasicBlock, blocks, num_classes=n_outputs, norm_layer=instance_norm)
        self.width = 64
        self.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
        self.maxpool = nn.Identity()

    def embed(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)

    @property
    def head(self) -> nn.Module:
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


class SmallDenseNet(DenseNet):
    """torchvision's DenseNet-121 behind a 3×3 stem without pooling.

    It keeps its batch norm. Its features are means over maps that come straight from a norm: after
    instance norm these are all but the same for every image, and it does not learn.
    """

    def __init__(self, input_shape: tuple[int, int, int], n_outputs: int) -> None:
        need_images(input_shape, "densenet121", smallest=16)
        super().__init__(num_classes=n_outputs)
        self.width = 64
        self.features.conv0 = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
        self.features.pool0 = nn.Identity()

    def embed(self, x: Tensor) -> Tensor:
        return torch.relu(self.features(x)).mean((2, 3))

    @property
    def head(self) -> nn.Module:
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))
