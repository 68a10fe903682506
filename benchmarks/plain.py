"""What the engine is measured against, written from the papers' facts with torch's modules.

`PlainCondenser` is M3D's published loop: class after class, float32, images in the device's
own layout, one optimiser step and one look at the loss per class. It is no slower than it has
to be: augmentation takes one scalar per class, distances come from one matrix product, and
the networks' weights are frozen, which the published code leaves out.

`plain_training` trains networks one after another, as the field's scripts do.
"""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PlainCondenser", "plain_convnet", "plain_training"]


def plain_convnet(shape: tuple[int, int, int], n_outputs: int, width: int = 128) -> nn.Sequential:
    """ConvNet-3 with instance norm and average pooling, as published."""
    channels, side = shape[0], shape[1]
    layers: list[nn.Module] = []
    for block in range(3):
        padding = 3 if block == 0 and side == 28 else 1
        layers += [
            nn.Conv2d(channels, width, 3, padding=padding),
            nn.GroupNorm(width, width),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
        ]
        channels, side = width, (side + 2 * padding - 2) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, n_outputs))


class PlainCondenser:
    """The published loop.

    Parameters
    ----------
    images : float Tensor of shape (n, c, h, w)
        In [0, 1].
    labels : integer Tensor of shape (n,)
    n_classes, ipc, batch_real : int
    """

    def __init__(
        self, images: Tensor, labels: Tensor, n_classes: int, ipc: int, batch_real: int
    ) -> None:
        self.images, self.n_classes, self.ipc = images, n_classes, ipc
        self.batch_real, self.factor = batch_real, 2
        self.members = [torch.nonzero(labels == c).flatten() for c in range(n_classes)]
        self.orders = [m[torch.randperm(len(m), device=m.device)] for m in self.members]
        self.used = [0] * n_classes
        start = torch.cat([members[:ipc] for members in self.members])
        self.stored = images[start].clone().requires_grad_(True)
        self.optimizer = torch.optim.SGD([self.stored], lr=float(ipc), momentum=0.5)
        self.mean = images[:10_000].mean((0, 2, 3), keepdim=True)
        self.std = images[:10_000].std((0, 2, 3), keepdim=True)
        self.network: nn.Sequential | None = None
        self.iteration = 0

    def step(self) -> float:
        """One iteration over all classes; the mean loss."""
        if self.iteration % 5 == 0:
            shape = tuple(self.images.shape[1:])
            self.network = plain_convnet(shape, self.n_classes).to(self.images.device)
            self.network.requires_grad_(False)
        self.iteration += 1
        with torch.no_grad():
            self.stored.clamp_(0, 1)
        total = 0.0
        for c in range(self.n_classes):
            loss = self._class_loss(c)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / self.n_classes

    def _class_loss(self, c: int) -> Tensor:
        real = self.images[self._draw(c)]
        synthetic = self._decode(self.stored[c * self.ipc : (c + 1) * self.ipc])
        if len(synthetic) > 200:
            synthetic = synthetic[torch.randperm(len(synthetic), device=real.device)[:200]]
        numbers = [random.random() for _ in range(7)]
        real = augment((real - self.mean) / self.std, numbers)
        synthetic = augment((synthetic - self.mean) / self.std, numbers)
        embed = self.network[:-1]
        with torch.no_grad():
            target = embed(real)
        return mmd2(embed(synthetic), target)

    def _draw(self, c: int) -> Tensor:
        size = len(self.members[c])
        if self.used[c] + self.batch_real > size:
            order = torch.randperm(size, device=self.images.device)
            self.orders[c], self.used[c] = self.members[c][order], 0
        self.used[c] += self.batch_real
        return self.orders[c][self.used[c] - self.batch_real : self.used[c]]

    def _decode(self, stored: Tensor) -> Tensor:
        h, w = stored.shape[2:]
        f, ch, cw = self.factor, -(-h // self.factor), -(-w // self.factor)
        padded = F.pad(stored, (0, cw * f - w, 0, ch * f - h), value=0.5)
        crops = [
            padded[:, :, i * ch : (i + 1) * ch, j * cw : (j + 1) * cw]
            for i in range(f)
            for j in range(f)
        ]
        return F.interpolate(torch.cat(crops), size=(h, w), mode="bilinear")


def augment(x: Tensor, numbers: list[float]) -> Tensor:
    """Colour, crop and cutout by one draw for the whole batch."""
    h, w = x.shape[2:]
    x = x + (numbers[0] - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (2 * numbers[1]) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (numbers[2] + 0.5) + mean
    reach = int(h * 0.125 + 0.5)
    down, right = (int(n * (2 * reach + 1)) for n in numbers[3:5])
    x = F.pad(x, (reach,) * 4)[:, :, down : down + h, right : right + w]
    half, middle = h // 4, (int(numbers[5] * h), int(numbers[6] * w))
    mask = torch.ones(1, 1, h, w, device=x.device)
    top, left = (max(m - half, 0) for m in middle)
    mask[:, :, top : middle[0] + half, left : middle[1] + half] = 0
    return x * mask


def mmd2(synthetic: Tensor, real: Tensor) -> Tensor:
    """Biased MMD² under five Gaussians about the mean pair distance."""
    n, joint = len(synthetic), torch.cat([synthetic, real])
    squares = joint.square().sum(1)
    distances = (squares[:, None] + squares[None] - 2 * joint @ joint.t()).clamp_min(0)
    bandwidth = distances.detach().sum() / (len(joint) ** 2 - len(joint))
    K = sum(torch.exp(-distances / (bandwidth * m)) for m in (0.25, 0.5, 1, 2, 4))
    return K[:n, :n].mean() - 2 * K[:n, n:].mean() + K[n:, n:].mean()


def plain_training(
    images: Tensor, labels: Tensor, n_classes: int, n_networks: int, steps: int, batch: int = 64
) -> None:
    """Train networks one after another; augmentation as in the engine's protocol "m3d"."""
    for _ in range(n_networks):
        network = plain_convnet(tuple(images.shape[1:]), n_classes).to(images.device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        done = 0
        while done < steps:
            for index in torch.randperm(len(images), device=images.device).split(batch):
                rows = augment(images[index], [random.random() for _ in range(7)])
                loss = F.cross_entropy(network(rows), labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
                done += 1
                if done == steps:
                    break
