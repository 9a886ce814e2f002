#!/usr/bin/env python3
"""Training steps of ckpt-regen's engine beside PyTorch's, in one run; with --evaluate, forward only.

Usage: python benches/compare_torch.py [--threads 2] [--steps 12] [--evaluate] [--no-compile] [--isa ISA] [--install] [NETWORK…]

NETWORK is name:stem:resolution:batch, as mobilenet_v2:native:32:128 or resnet18dilated-ppm_deepsup:native:320:4 (segmentation);
without any, a table of twelve. Build first:
cargo build --release --bench train_step. Both programs take the weights and images of the rule in fixtures/golden, 100 classes,
SGD with Nesterov, f32.

First the machine's limits, with as many threads: the arithmetic of PyTorch's product of two matrices of 3072 × 3072, and the bytes
that a copy of 256 MB reads and writes. Then for each network ours and PyTorch by turns: its two memory formats, each as it is and
through torch.compile where that works. PyTorch's fastest mode is run again until it has had as many runs as ours, and of each the
run with the fastest median step counts, so that a busy moment of the machine harms neither. Losses and outputs are compared before
any time counts. Prints a Markdown table: images a second, the ratio to the fastest mode, the share of the arithmetic limit that ours
reaches (2 operations a multiply-add of the convolutions and linear layers, three times as many in training), and peak memory of ours
and of the fastest mode. Every run is a process of its own.

Needs torch and torchvision; with --install they are put into a virtual environment for this run where they cannot be imported.
"""

import argparse, importlib.util, json, math, os, re, statistics, subprocess, sys, tempfile, time, venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
NETWORKS = [
    "mobilenet_v2:native:32:128", "shufflenet_v2_x1_0:native:32:128", "mnasnet1_0:native:32:128",
    "mobilenet_v3_small:native:32:128", "efficientnet_b0:native:32:128", "resnet18:native:32:128",
    "mobilenet_v2:cifar:32:128", "shufflenet_v2_x1_0:cifar:32:128", "resnet18:cifar:32:128",
    "mobilenet_v2:native:224:32", "resnet50:native:224:32", "regnet_y_400mf:native:224:32",
]
# Name, channels_last, compiled.
MODES = [("NCHW", False, False), ("channels_last", True, False), ("compiled NCHW", False, True), ("compiled channels_last", True, True)]
WARM_UP = 3
OUTPUTS = 4


class Failed(Exception):
    pass


def limits(threads):
    """Operations a second of a matrix product, and bytes a second of a copy."""
    import torch

    torch.set_num_threads(threads)
    size = 3072
    a, b = torch.rand(size, size), torch.rand(size, size)
    product = torch.empty(size, size)
    x = torch.rand(64_000_000)
    y = torch.empty_like(x)

    def best(work):
        seconds = []
        for _ in range(8):
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
        return min(seconds[1:])

    return {
        "flops": 2 * size**3 / best(lambda: torch.matmul(a, b, out=product)),
        "bytes": 2 * 4 * x.numel() / best(lambda: y.copy_(x)),
        "versions": f"torch {torch.__version__}",
    }


def torch_steps(name, stem, resolution, batch, threads, channels_last, compiled, steps, evaluate):
    """One mode."""
    import resource
    import torch, torchvision
    import torch.nn.functional as F

    sys.path.insert(0, str(HOME / "fixtures/golden"))
    import generate

    torch.set_num_threads(threads)
    dense = "dilated" in name
    if dense:
        import generate_more

        model = next(model for known, model in generate_more.segmenters(100) if known == name)
    else:
        model = getattr(torchvision.models, name)(weights=None, num_classes=100)
    if stem == "cifar":
        model = generate.cifar_stem(model, re.sub("_x.*", "", name))
    model = model.double()
    generate.fill(model)
    model = model.float().train(not evaluate)
    x = generate.f32((2 * generate.uniform("input", (batch, 3, resolution, resolution)) - 1) * 3**0.5).float()
    shape = (batch, -(-resolution // 8), -(-resolution // 8)) if dense else (batch,)
    count = math.prod(shape)
    y = torch.from_numpy((generate.draws("labels", count) % generate.np.uint64(100)).astype("int64")).reshape(shape)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)
    run = torch.compile(model) if compiled else model

    def forward():
        """The loss, with 0.4 times that of an auxiliary output, and the output."""
        output = run(x)
        if not dense:
            return F.cross_entropy(output, y), output
        output, auxiliary = output
        return F.cross_entropy(output, y) + 0.4 * F.cross_entropy(auxiliary, y), output

    def train():
        optimizer.zero_grad()
        loss, output = forward()
        loss.backward()
        optimizer.step()
        return loss.item(), output

    @torch.inference_mode()
    def use():
        loss, output = forward()
        return loss.item(), output

    losses, seconds, outputs = [], [], None
    for _ in range(steps + WARM_UP):
        begin = time.perf_counter()
        loss, output = use() if evaluate else train()
        seconds.append(time.perf_counter() - begin)
        losses.append(loss)
        if outputs is None:
            outputs = output.detach().flatten()[: 100 * OUTPUTS].reshape(OUTPUTS, 100).tolist()
    return {
        "images_per_s": batch / statistics.median(seconds[WARM_UP:]),
        "losses": losses[:3],
        "outputs": outputs,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def last_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours_binary():
    built = [path for path in (HOME / "target/release/deps").glob("train_step-*") if not path.suffix]
    if not built:
        sys.exit("build first: cargo build --release --bench train_step")
    return max(built, key=lambda path: path.stat().st_mtime)


def verify(network, ours, mode, theirs, evaluate):
    """Ends the whole run where the two do not compute the same."""

    def check(what, difference, limit):
        if not difference < limit:
            sys.exit(f"{network}: {what} of ours and of PyTorch ({mode}) differ by {difference:.2g}, more than {limit:g}")

    first, later, last = (abs(a - b) / abs(b) for a, b in zip(ours["losses"], theirs["losses"]))
    check("the first loss", first, 1e-4)
    # After an update a unit may lie on the other side of a kink.
    check("the later losses", max(later, last), 1e-4 if evaluate else 5e-2)
    pairs = [pair for rows in zip(ours["outputs"], theirs["outputs"]) for pair in zip(*rows)]
    largest = max(abs(b) for _, b in pairs)
    check("the outputs", max(abs(a - b) for a, b in pairs) / largest, 1e-3)


def compare(network, args, binary):
    """The best run of ours, and of each of PyTorch's modes that works."""
    name, stem, resolution, batch = network.split(":")
    ours_command = [binary, "--model", name, "--stem", stem, "--resolution", resolution, "--batch", batch]
    ours_command += ["--threads", str(args.threads), "--steps", str(args.steps)]
    ours_command += ["--evaluate"] * args.evaluate + (["--isa", args.isa] if args.isa else [])

    def run_ours():
        try:
            return last_json(ours_command)
        except Failed as reason:
            sys.exit(f"{network}: ours failed: {reason}")

    def run_theirs(mode, last, compiled):
        one = [name, stem, int(resolution), int(batch), args.threads, last, compiled, args.steps, args.evaluate]
        try:
            return last_json([sys.executable, __file__, "--one", json.dumps(one)])
        except Failed as reason:
            if not compiled:
                sys.exit(f"{network}: PyTorch ({mode}) failed: {reason}")
            print(f"{network}: {mode} failed: {reason}", file=sys.stderr)

    def speed(run):
        return run["images_per_s"]

    ours, theirs = [], {}
    modes = [mode for mode in MODES if args.compile or not mode[2]]
    for mode in modes:
        ours.append(run_ours())
        run = run_theirs(*mode)
        if run:
            verify(network, ours[-1], mode[0], run, args.evaluate)
            theirs[mode[0]] = run
    fastest = max(theirs, key=lambda mode: speed(theirs[mode]))
    mode = next(mode for mode in modes if mode[0] == fastest)
    for _ in range(len(ours) - 1):
        theirs[fastest] = max(theirs[fastest], run_theirs(*mode) or theirs[fastest], key=speed)
    return max(ours, key=speed), theirs, fastest


def row(network, ours, theirs, fastest, limit):
    def images(*modes):
        speeds = [theirs[mode]["images_per_s"] for mode in modes if mode in theirs]
        return f"{max(speeds):.1f}" if speeds else "–"

    ratio = ours["images_per_s"] / theirs[fastest]["images_per_s"]
    flops = ours["flops_per_step"] * ours["images_per_s"] / int(network.split(":")[3])
    cells = [
        network,
        f"{ours['images_per_s']:.1f}",
        images("NCHW"),
        images("channels_last"),
        images("compiled NCHW", "compiled channels_last"),
        f"{ratio:.2f}",
        f"{100 * flops / limit:.0f} %",
        f"{ours['peak_mib']:.0f}, {theirs[fastest]['peak_mib']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def install():
    """Runs this script again with an environment of its own."""
    with tempfile.TemporaryDirectory(prefix="compare-torch-") as folder:
        print("installing torch and torchvision …", file=sys.stderr)
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", "torch", "torchvision"]
        if subprocess.run(pip).returncode != 0:
            sys.exit("torch and torchvision could not be installed")
        rest = [argument for argument in sys.argv[1:] if argument != "--install"]
        sys.exit(subprocess.run([python, __file__, *rest]).returncode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each run")
    parser.add_argument("--evaluate", action="store_true", help="forward only")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--isa", choices=["avx512", "avx2", "portable"], help="the instructions of ours; PyTorch takes what it likes")
    parser.add_argument("--install", action="store_true", help="install torch and torchvision for this run")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--limits", type=int, help=argparse.SUPPRESS)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(torch_steps(*json.loads(args.one))))
        return
    if args.limits:
        print(json.dumps(limits(args.limits)))
        return
    for network in args.networks:
        if not re.fullmatch(r"[\w-]+:(native|cifar):[1-9]\d*:[1-9]\d*", network):
            parser.error(f"{network} is not name:stem:resolution:batch")
    if args.threads < 1 or args.steps < 1:
        parser.error("--threads and --steps are at least 1")
    if any(importlib.util.find_spec(name) is None for name in ["torch", "torchvision"]):
        if args.install:
            install()
        sys.exit("needs torch and torchvision: pip install torch torchvision, or --install")
    binary = ours_binary()
    try:
        limit = last_json([sys.executable, __file__, "--limits", str(args.threads)])
    except Failed as reason:
        sys.exit(f"the machine's limits: {reason}")
    work = "forward only" if args.evaluate else "training steps"
    print(f"{work}, {args.threads} threads, {limit['versions']}; limits: product {limit['flops'] / 1e9:.0f} Gflop/s, copy {limit['bytes'] / 1e9:.1f} GB/s\n")
    print("| network | ours | NCHW | channels_last | compiled | ratio | of the arithmetic limit | MiB: ours, PyTorch |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for network in args.networks or NETWORKS:
        ours, theirs, fastest = compare(network, args, binary)
        print(row(network, ours, theirs, fastest, limit["flops"]), flush=True)


main()
