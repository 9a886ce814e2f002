#!/usr/bin/env python3
"""Final accuracy of `ckpt-regen train` beside PyTorch's, in one run: the same network, data, recipe and number of epochs, each with
some seeds.

Usage: python benches/accuracy_torch.py CIFAR [--model shufflenet_v2_x1_0] [--epochs 10] [--milestones 3,6,8] [--seeds 0,1,2] [--ours 0,1,2]
[--threads 1] [--jobs 1] [--compile] [--cuda]

CIFAR is the folder of CIFAR-100's binary format. Both draw weights, order and augmentation by themselves, so that a seed means nothing
across the two: what is compared are the distributions. The recipe is `cifar`: SGD with Nesterov, 0.1 times a fifth at each milestone,
weight decay 5e-4, batches of 128, crops of a frame of 4 and flips. All in f32; PyTorch's weights lie channels last.

Ours run --jobs at a time, PyTorch beside them: one seed after the other, or with --cuda all at once on a GPU, a step of each being one
graph of kernels. Prints a line a run as it ends, and then of both the mean, standard deviation and range, the difference of the means
with its standard error, and the share of ours that lie in the range of three of PyTorch's, over all threes: a half, were they of one
distribution. Build first: cargo build --release. Needs torch and torchvision.
"""

import argparse, contextlib, itertools, json, os, statistics, subprocess, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

HOME = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("CKPT_REGEN", str(HOME / "target" / "release" / "ckpt-regen"))
# Of the recipe.
MEAN, STD = [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]
SIDE, PAD, BATCH = 32, 4, 128
# Steps before a graph is made of one.
EAGER = 3


def load(folder, name, device):
    """Images as bytes, and their fine labels."""
    numbers, record = np.fromfile(folder / name, np.uint8), 2 + 3 * SIDE * SIDE
    if len(numbers) == 0 or len(numbers) % record:
        raise SystemExit(f"{folder / name}: expected records of {record} bytes, found {len(numbers)} bytes")
    rows = numbers.reshape(-1, record)
    images = torch.from_numpy(rows[:, 2:].reshape(-1, 3, SIDE, SIDE).copy())
    return images.to(device), torch.from_numpy(rows[:, 1].astype(np.int64)).to(device)


class Run:
    """A network in training."""

    def __init__(self, options, device, seed):
        torch.manual_seed(seed)
        network = torchvision.models.get_model(options.model, weights=None, num_classes=100)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.compiled = torch.compile(self.network) if options.compile else self.network
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, options.milestones, 0.2)
        self.random = torch.Generator(device).manual_seed(seed)
        self.stream = torch.cuda.Stream() if options.cuda else None
        self.taken = 0
        # For each size of a batch and learning rate, which a graph holds as a constant: what a batch is copied into, and the graph.
        self.graphs = {}
        mean, std = (torch.tensor(numbers, device=device).view(1, 3, 1, 1) for numbers in (MEAN, STD))
        self.normalise = lambda x: ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def cropped_and_flipped(self, framed, numbers):
        """A crop of each framed image, half of them flipped."""
        count, device = len(numbers), framed.device
        place = torch.arange(SIDE, device=device)
        top, left = torch.randint(0, 2 * PAD + 1, (2, count, 1), generator=self.random, device=device)
        flip = torch.rand((count, 1), generator=self.random, device=device) < 0.5
        rows, columns = top + place, left + torch.where(flip, SIDE - 1 - place, place)
        channels = torch.arange(3, device=device)[None, :, None, None]
        return framed[numbers[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]

    def epoch(self, framed, labels):
        """The batches of an epoch."""
        order = torch.randperm(len(labels), generator=self.random, device=labels.device)
        for numbers in order.split(BATCH):
            yield self.cropped_and_flipped(framed, numbers), labels[numbers]

    def update(self, x, y):
        # A last, smaller batch would be compiled anew.
        run = self.compiled if len(y) == BATCH else self.network
        loss = F.cross_entropy(run(self.normalise(x)), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def step(self, x, y):
        self.taken += 1
        if self.stream is None or self.taken <= EAGER:
            return self.update(x, y)
        kind = (len(y), *self.schedule.get_last_lr())
        if kind not in self.graphs:
            self.graphs[kind] = (x.clone(), y.clone(), torch.cuda.CUDAGraph())
            images, labels, graph = self.graphs[kind]
            # What is captured does not run yet.
            with torch.cuda.graph(graph, stream=self.stream):
                self.update(images, labels)
        images, labels, graph = self.graphs[kind]
        images.copy_(x)
        labels.copy_(y)
        graph.replay()

    @torch.no_grad()
    def accuracy(self, images, labels):
        """In percent."""
        self.network.eval()
        pairs = zip(images.split(500), labels.split(500))
        right = sum((self.network(self.normalise(x)).argmax(1) == y).sum().item() for x, y in pairs)
        return 100 * right / len(labels)


def pytorch(options, seeds):
    """Test accuracies after the last epoch of runs that take their steps by turns."""
    device = "cuda" if options.cuda else "cpu"
    (images, labels), test = (load(options.data, name, device) for name in ("train.bin", "test.bin"))
    framed = F.pad(images, (PAD,) * 4)
    runs = [Run(options, device, seed) for seed in seeds]
    on = lambda run: torch.cuda.stream(run.stream) if options.cuda else contextlib.nullcontext()
    if options.cuda:
        # The streams of the runs do not wait for what made the data.
        torch.cuda.synchronize()
    for _ in range(options.epochs):
        epochs = [run.epoch(framed, labels) for run in runs]
        for _ in range(0, len(labels), BATCH):
            for run, epoch in zip(runs, epochs):
                with on(run):
                    run.step(*next(epoch))
        if options.cuda:
            torch.cuda.synchronize()
        for run in runs:
            run.schedule.step()
    return [run.accuracy(*test) for run in runs]


def ours(options, seed):
    """The same of `ckpt-regen train`."""
    with tempfile.TemporaryDirectory() as out:
        command = [PROGRAM, "train", "--model", options.model, "--data", str(options.data), "--recipe", "cifar"]
        command += ["--epochs", str(options.epochs), "--milestones", ",".join(map(str, options.milestones)), "--seed", str(seed)]
        command += ["--threads", str(options.threads), "--out", f"{out}/run"]
        # What is wrong it says itself.
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return json.loads(Path(out, "run", "metrics.jsonl").read_text().splitlines()[-1])["test_top1"]


def report(name, seed, found):
    print(f"{name}, seed {seed}: {found:.2f} %", flush=True)
    return found


def inside(runs, others):
    """The share of the runs that lie in the range of three others, in percent."""
    threes = list(itertools.combinations(others, 3))
    return 100 * statistics.mean(min(three) <= run <= max(three) for run in runs for three in threes)


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
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs of ckpt-regen at a time")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--compile", action="store_true", help="PyTorch by torch.compile")
    way.add_argument("--cuda", action="store_true", help="PyTorch on a GPU")
    options = parser.parse_args()
    if options.jobs < 1 or options.threads < 1:
        parser.error("--jobs and --threads are at least 1")
    if options.cuda and not torch.cuda.is_available():
        parser.error("--cuda: PyTorch finds no GPU here")
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False
    pool = ThreadPoolExecutor(options.jobs)
    try:
        waiting = [pool.submit(lambda seed: report("ckpt-regen", seed, ours(options, seed)), seed) for seed in options.ours]
        theirs = []
        for seeds in [options.seeds] if options.cuda else [[seed] for seed in options.seeds]:
            theirs += [report("PyTorch", *pair) for pair in zip(seeds, pytorch(options, seeds))]
            # What has failed by now ends all.
            [run.result() for run in waiting if run.done()]
        mine = [run.result() for run in waiting]
    except (subprocess.CalledProcessError, OSError) as failed:
        raise SystemExit(str(failed)) from None
    finally:
        pool.shutdown(cancel_futures=True)
    for name, found in (("ckpt-regen", mine), ("PyTorch", theirs)):
        spread = f", standard deviation {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        print(f"{name}, runs: {len(found)}, mean {statistics.mean(found):.2f} %{spread}, {min(found):.2f} to {max(found):.2f}")
    if min(len(mine), len(theirs)) > 1:
        error = sum(statistics.variance(found) / len(found) for found in (mine, theirs)) ** 0.5
        print(f"means differ by {statistics.mean(mine) - statistics.mean(theirs):+.2f}, standard error {error:.2f}")
    if len(theirs) > 2:
        print(f"of ours {inside(mine, theirs):.0f} % are in the range of three of PyTorch's")


if __name__ == "__main__":
    main()
