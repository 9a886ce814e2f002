"""What both scripts train: a small CNN with BatchNorm, on made-up pictures of stripes."""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 4


def network() -> nn.Module:
    def block(i: int, o: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(i, o, 3, stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(o), nn.ReLU())

    return nn.Sequential(
        block(3, 16, 1), block(16, 32, 2), block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
    )


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Stripes in one of four directions under noise, always the same ones."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    angle = (labels * torch.pi / CLASSES).view(-1, 1, 1)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    phase = 6.3 * torch.rand(count, 1, 1, generator=rng)
    stripes = torch.sin(1.5 * (x * angle.cos() + y * angle.sin()) + phase)
    return stripes.unsqueeze(1) + 2 * torch.randn(count, 3, 16, 16, generator=rng), labels


def train_one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """Goes once through the data, in an order that depends on the epoch only; the mean loss."""
    images, labels = pictures(512)
    model.train()
    losses = []
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
    for batch in order.split(64):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)
