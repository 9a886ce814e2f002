#!/usr/bin/env python3
"""Training steps of ckpt-regen's engine beside PyTorch's, in one run.

Usage: python benches/compare_torch.py [--threads 2] [--compile] [NETWORK…]

NETWORK is name:stem:resolution:batch, as mobilenet_v2:native:32:128; without any, a table of twelve. Build first:
cargo build --release --bench train_step. Both programs take the weights and images of the rule in fixtures/golden, 100 classes,
SGD with Nesterov, f32. The losses of the first three steps are compared before any time counts. PyTorch's time is the best of its
memory formats (and, with --compile, of torch.compile). Prints images a second (median step), the ratio, and peak memory. Needs torch and
torchvision.
"""

import argparse, json, re, statistics, subprocess, sys, time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
NETWORKS = [
    "mobilenet_v2:native:32:128", "shufflenet_v2_x1_0:native:32:128", "mnasnet1_0:native:32:128",
    "mobilenet_v3_small:native:32:128", "efficientnet_b0:native:32:128", "resnet18:native:32:128",
    "mobilenet_v2:cifar:32:128", "shufflenet_v2_x1_0:cifar:32:128", "resnet18:cifar:32:128",
    "mobilenet_v2:native:224:32", "resnet50:native:224:32", "regnet_y_400mf:native:224:32",
]


def torch_steps(name, stem, resolution, batch, threads, channels_last, compiled, steps):
    """One format in a process of its own: its peak memory is its own too."""
    import resource
    import torch, torchvision
    import torch.nn.functional as F

    sys.path.insert(0, str(HOME / "fixtures/golden"))
    import generate

    torch.set_num_threads(threads)
    model = getattr(torchvision.models, name)(weights=None, num_classes=100)
    if stem == "cifar":
        model = generate.cifar_stem(model, re.sub("_x.*", "", name))
    model = model.double()
    generate.fill(model)
    model = model.float().train()
    x = generate.f32((2 * generate.uniform("input", (batch, 3, resolution, resolution)) - 1) * 3**0.5).float()
    y = torch.from_numpy((generate.draws("labels", batch) % generate.np.uint64(100)).astype("int64"))
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)
    run = torch.compile(model) if compiled else model
    losses, seconds = [], []
    for _ in range(steps + 3):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(run(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    return {
        "images_per_s": batch / statistics.median(seconds[3:]),
        "losses": losses[:3],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def last_json(command):
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("networks", nargs="*")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(torch_steps(*json.loads(args.one))))
        return
    built = sorted((HOME / "target/release/deps").glob("train_step-*"), key=lambda path: path.stat().st_mtime)
    ours_binary = [path for path in built if not path.suffix][-1]
    print(f"{'network':<34} {'ours':>7} {'NCHW':>7} {'last':>7}   ratio   MiB: ours / PyTorch")
    for network in args.networks or NETWORKS:
        name, stem, resolution, batch = network.split(":")
        common = ["--model", name, "--stem", stem, "--resolution", resolution, "--batch", batch]
        ours = last_json([ours_binary, *common, "--threads", str(args.threads), "--steps", str(args.steps)])
        theirs = []
        for last, compiled in [(False, False), (True, False)] + [(False, True), (True, True)] * args.compile:
            one = json.dumps([name, stem, int(resolution), int(batch), args.threads, last, compiled, args.steps])
            theirs.append(last_json([sys.executable, __file__, "--one", one]))
        for peer in theirs:
            first, later = [abs(a - b) / abs(b) for a, b in zip(ours["losses"], peer["losses"])][:2]
            # The first loss is the forward pass; after an update a unit may lie on the other side of a kink.
            assert first < 1e-4 and later < 5e-2, (network, ours["losses"], peer["losses"])
        best = max(theirs, key=lambda peer: peer["images_per_s"])
        formats = " ".join(f"{peer['images_per_s']:7.1f}" for peer in theirs)
        ratio = ours["images_per_s"] / best["images_per_s"]
        print(f"{network:<34} {ours['images_per_s']:7.1f} {formats}   {ratio:5.2f}   {ours['peak_mib']:.0f} / {best['peak_mib']:.0f}", flush=True)


main()
