#!/usr/bin/env python3
"""Final accuracy of `ckpt-regen train` beside PyTorch's, in one run: the same network, data, recipe and number of epochs, each with
some seeds.

Usage: python benches/accuracy_torch.py CIFAR [--model shufflenet_v2_x1_0] [--epochs 10] [--milestones 3,6,8] [--seeds 0,1,2] [--ours 0,1,2]
[--threads 1] [--compile]

CIFAR is the folder of CIFAR-100's binary format. Both draw weights, order and augmentation by themselves, so that a seed means nothing
across the two: what is compared are the distributions. The recipe is `cifar`: SGD with Nesterov, 0.1 times a fifth at each milestone,
weight decay 5e-4, batches of 128, crops of a frame of 4 and flips. PyTorch's weights lie channels last.

Prints a line a run as it ends, and then the mean, standard deviation and range of both. Build first: cargo build --release. Needs torch
and torchvision.
"""

import argparse, json, os, statistics, subprocess, tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

HOME = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("CKPT_REGEN", str(HOME / "target" / "release" / "ckpt-regen"))
# Of the recipe.
MEAN, STD = [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]
SIDE, PAD = 32, 4


def load(folder, name):
    """Images as bytes, and their fine labels."""
    rows = np.fromfile(folder / name, np.uint8).reshape(-1, 2 + 3 * SIDE * SIDE)
    images = torch.from_numpy(rows[:, 2:].reshape(-1, 3, SIDE, SIDE).copy())
    return images, torch.from_numpy(rows[:, 1].astype(np.int64))


def normalise(x):
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    return ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def cropped_and_flipped(framed, numbers):
    """A crop of each framed image, half of them flipped."""
    count, place = len(numbers), torch.arange(SIDE)
    top, left = torch.randint(0, 2 * PAD + 1, (2, count, 1))
    flip = torch.rand(count, 1) < 0.5
    rows, columns = top + place, left + torch.where(flip, SIDE - 1 - place, place)
    channels = torch.arange(3)[None, :, None, None]
    return framed[numbers[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]


def pytorch(options, seed):
    """Its test accuracy after the last epoch, in percent."""
    torch.manual_seed(seed)
    (images, labels), (test, expected) = (load(options.data, name) for name in ("train.bin", "test.bin"))
    framed = F.pad(images, (PAD,) * 4)
    network = torchvision.models.get_model(options.model, weights=None, num_classes=100).to(memory_format=torch.channels_last)
    compiled = torch.compile(network) if options.compile else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, options.milestones, 0.2)
    for _ in range(options.epochs):
        network.train()
        for numbers in torch.randperm(len(images)).split(128):
            # A last, smaller batch would be compiled anew.
            run = compiled if len(numbers) == 128 else network
            loss = F.cross_entropy(run(normalise(cropped_and_flipped(framed, numbers))), labels[numbers])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        right = sum((network(normalise(x)).argmax(1) == y).sum().item() for x, y in zip(test.split(500), expected.split(500)))
    return 100 * right / len(test)


def ours(options, seed):
    """The same of `ckpt-regen train`."""
    with tempfile.TemporaryDirectory() as out:
        command = [PROGRAM, "train", "--model", options.model, "--data", str(options.data), "--recipe", "cifar"]
        command += ["--epochs", str(options.epochs), "--milestones", ",".join(map(str, options.milestones)), "--seed", str(seed)]
        command += ["--threads", str(options.threads), "--out", f"{out}/run"]
        status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if status != 0:
            # It has said what is wrong.
            raise SystemExit(status)
        return json.loads(Path(out, "run", "metrics.jsonl").read_text().splitlines()[-1])["test_top1"]


def numbers(text):
    """Numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="CIFAR")
    parser.add_argument("--model", default="shufflenet_v2_x1_0")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--milestones", type=numbers, default="3,6,8")
    parser.add_argument("--seeds", type=numbers, default="0,1,2", help="PyTorch's")
    parser.add_argument("--ours", type=numbers, default="0,1,2", help="those of ckpt-regen")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="PyTorch by torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, train, seeds in (("ckpt-regen", ours, options.ours), ("PyTorch", pytorch, options.seeds)):
        found = []
        for seed in seeds:
            found.append(train(options, seed))
            print(f"{name}, seed {seed}: {found[-1]:.2f} %", flush=True)
        spread = f", standard deviation {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        print(f"{name}, runs: {len(found)}, mean {statistics.mean(found):.2f} %{spread}, {min(found):.2f} to {max(found):.2f}", flush=True)


if __name__ == "__main__":
    main()
