"""Segmentation computes what PyTorch computes: MobileNetV2-C1 on CamVid.

As a program, the same training by PyTorch alone, for accuracies beside ours:

    segmentation.py DATA OUT [--epochs 10] [--seed 0] [--batch-size 4] [--lr 0.02]

prints a line an epoch: loss, pixel accuracy, mean IoU. DATA is images/ and annotations/ with train/ and
val/, OUT the run of ckpt-regen whose first weights (OUT/epoch-0) it begins with.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from support import Skip, check, expect

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IGNORED, CLASSES = 11, 11


def dilated(block: nn.Module, rate: int) -> None:
    """Stride 2 becomes 1: its depthwise convolution gets half of the rate, any other the rate."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            rate_here = rate // 2 if layer.stride == (2, 2) else rate
            layer.stride, layer.dilation, layer.padding = (1, 1), (rate_here,) * 2, (rate_here,) * 2


def cbr(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class Network(nn.Module):
    """MobileNetV2 with output stride 8, one convolution and a classifier; an auxiliary head on features.14."""

    def __init__(self, classes: int):
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.features = torchvision.models.mobilenet_v2(weights=None).features[:18]
        for number in range(7, 18):
            dilated(self.encoder.features[number], 2 if number < 14 else 4)
        self.decoder.cbr, self.decoder.cbr_deepsup = cbr(320, 80), cbr(160, 80)
        self.decoder.conv_last = nn.Conv2d(80, classes, 1)
        self.decoder.conv_last_deepsup = nn.Conv2d(80, classes, 1)

    def forward(self, x):
        for number, layer in enumerate(self.encoder.features):
            x = layer(x)
            if number == 14:
                middle = x
        decoder = self.decoder
        return decoder.conv_last(decoder.cbr(x)), decoder.conv_last_deepsup(decoder.cbr_deepsup(middle))


class Scenes:
    """Image files and label maps of a split, in the order of their names."""

    def __init__(self, folder: Path, split: str):
        self.images = sorted((folder / "images" / split).iterdir())
        self.maps = [folder / "annotations" / split / f"{file.stem}.png" for file in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int, size: tuple[int, int] | None = None) -> np.ndarray:
        picture = Image.open(self.images[index]).convert("RGB")
        if size is not None and size != picture.size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        mean, std = (np.array(v, np.float32) for v in (MEAN, STD))
        pixels = np.asarray(picture, np.float32) / np.float32(255)
        return ((pixels - mean) / std).transpose(2, 0, 1)

    def labels(self, index: int) -> np.ndarray:
        labels = np.asarray(Image.open(self.maps[index])).astype(np.int64)
        return np.where(labels == IGNORED, -1, labels)

    def batch(self, indices, flips=None) -> tuple[torch.Tensor, torch.Tensor]:
        """Images padded to multiples of 8, and the labels of the pixels 8i + 4, 8j + 4."""
        width, height = Image.open(self.images[indices[0]]).size
        padded = -(-height // 8) * 8, -(-width // 8) * 8
        images = np.zeros((len(indices), 3, *padded), np.float32)
        labels = np.full((len(indices), *padded), -1)
        for place, index in enumerate(indices):
            image, own = self.image(index), self.labels(index)
            if flips is not None and flips[place]:
                image, own = image[:, :, ::-1], own[:, ::-1]
            images[place, :, :height, :width] = image
            labels[place, :height, :width] = own
        return torch.from_numpy(images), torch.from_numpy(labels[:, 4::8, 4::8].copy())


def loss_of(outputs, labels) -> torch.Tensor:
    main, auxiliary = (F.cross_entropy(logits, labels, ignore_index=-1) for logits in outputs)
    return main + 0.4 * auxiliary


def optimizer_of(model: nn.Module, lr: float) -> torch.optim.SGD:
    """Weight decay on matrices and filters alone, as the reference has it."""
    groups = [[], []]
    for parameter in model.parameters():
        groups[parameter.ndim > 1].append(parameter)
    vectors, weights = groups
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": weights, "weight_decay": 1e-4}]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9)


def step(model, optimizer, batch, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = loss_of(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def evaluate(model, scenes: Scenes, batch: int = 8) -> tuple[float, float]:
    """Pixel accuracy and mean IoU, percent, of images at their own size, rounded up to multiples of 8."""
    model.eval()
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.long)
    for start in range(0, len(scenes), batch):
        indices = range(start, min(start + batch, len(scenes)))
        labels = torch.from_numpy(np.stack([scenes.labels(index) for index in indices]))
        height, width = labels.shape[1:]
        size = -(-width // 8) * 8, -(-height // 8) * 8
        images = torch.from_numpy(np.stack([scenes.image(index, size) for index in indices]))
        images = images.to(next(model.parameters()).dtype)
        logits = F.interpolate(model(images)[0], (height, width), mode="bilinear", align_corners=False)
        counts = labels >= 0
        pairs = labels[counts] * CLASSES + logits.argmax(1)[counts]
        confusion += torch.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    model.train()
    found = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - found
    return 100 * (found.sum() / confusion.sum()).item(), 100 * (found / (union + 1e-10)).mean().item()


def camvid() -> Path:
    folder = Path(os.environ.get("CKPT_REGEN_MATERIAL", "")) / "data/camvid"
    if not folder.is_dir():
        raise Skip("no data/camvid in CKPT_REGEN_MATERIAL")
    return folder


@check("segmentation: three steps of MobileNetV2-C1 on CamVid in f64, and its mean IoU")
def _(directory):
    from train import exact

    folder, updates = camvid(), 3
    data = directory / "camvid"
    data.mkdir()
    (data / "classes.txt").write_text((folder / "classes.txt").read_text())
    for split, count in (("train", 12), ("val", 3)):
        scenes = Scenes(folder, split)
        for kind in ("images", "annotations"):
            (data / kind / split).mkdir(parents=True)
        for image, labels in list(zip(scenes.images, scenes.maps))[:count]:
            # Decoders of JPEG differ by a grey level here and there.
            picture = Image.open(image).convert("RGB").crop((0, 0, 124, 92))
            picture.save(data / "images" / split / f"{image.stem}.png")
            Image.open(labels).crop((0, 0, 124, 92)).save(data / "annotations" / split / labels.name)
    lines = exact(
        directory / "run", "recipe='ade20k'", "model='mobilenetv2dilated-c1_deepsup'", f"data={str(data)!r}",
        "label-values='0-10'", f"ignored-values='{IGNORED}'", "epochs=1", f"epoch-updates={updates}",
        "batch-size=2", "short-sides=[]", "test-sides=[]", "flip=false", "bn-momentum=0.1", "keep=9",
    )
    expect(len(lines) == updates, f"{lines}")
    model = Network(CLASSES).double().train()
    model.load_state_dict(load_file(directory / "run/epoch-0/model.safetensors"))
    optimizer, scenes = optimizer_of(model, 0.02), Scenes(data, "train")
    for number, line in enumerate(lines):
        images, labels = scenes.batch(line["images"])
        lr = 0.02 * (1 - number / updates) ** 0.9
        loss = step(model, optimizer, (images.double(), labels), lr)
        expect(abs(loss - line["loss"]) < 1e-6, f"step {number + 1}: {line['loss']}, expected {loss}")
    saved = load_file(directory / "run/last/model.safetensors")
    for key, value in model.state_dict().items():
        expect(torch.allclose(saved[key], value, rtol=1e-6, atol=1e-6), f"{key} differs in the end")
    accuracy, mean_iou = evaluate(model, Scenes(data, "val"))
    metrics = json.loads((directory / "run/metrics.jsonl").read_text())
    for key, expected in (("test_top1", accuracy), ("test_miou", mean_iou)):
        expect(abs(metrics[key] - expected) < 1e-3, f"{key}: {metrics[key]}, expected {expected}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.02)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = Network(CLASSES).train().to(memory_format=torch.channels_last)
    model.load_state_dict(load_file(args.run / "epoch-0/model.safetensors"))
    optimizer = optimizer_of(model, args.lr)
    train, test = Scenes(args.data, "train"), Scenes(args.data, "val")
    updates = -(-len(train) // args.batch_size)
    random = np.random.default_rng(args.seed)
    for epoch in range(args.epochs):
        order = random.permutation(len(train))
        losses = []
        for number in range(updates):
            indices = order[number * args.batch_size : (number + 1) * args.batch_size]
            flips = random.integers(0, 2, len(indices))
            images, labels = train.batch(indices, flips=flips)
            images = images.to(memory_format=torch.channels_last)
            done = (epoch * updates + number) / (args.epochs * updates)
            losses.append(step(model, optimizer, (images, labels), args.lr * (1 - done) ** 0.9))
        accuracy, mean_iou = evaluate(model, test)
        line = {"epoch": epoch + 1, "train_loss": float(np.mean(losses)), "test_top1": accuracy, "test_miou": mean_iou}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
