"""Train, with the weights in model.safetensors and the optimizer's state beside them.

python train_safetensors.py --epochs 5                # epochs 1 to 5, into run/
ckpt-regen apply run --every 5 --epoch 5              # model.safetensors has no epoch: say it
python train_safetensors.py --epochs 10 --resume run  # epochs 6 to 10, from the edited weights
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from task import network, train_one_epoch


def build():
    torch.manual_seed(0)
    model = network()
    # A safetensors file does not keep the order of parameters. With named_parameters (PyTorch 2.6
    # and later) the optimizer's state has their names, and `--optimizer reset` works.
    optimizer = torch.optim.AdamW(model.named_parameters(), 2e-3)
    return model, optimizer


def save(directory, model, optimizer, epochs: int) -> None:
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), directory / "model.safetensors", metadata={"format": "pt"})
    state = {"optimizer": optimizer.state_dict(), "finished_epochs": epochs}
    torch.save(state, directory / "optimizer.pt")


def load(directory, model, optimizer) -> int:
    """Restores everything; the number of finished epochs."""
    directory = Path(directory)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    state = torch.load(directory / "optimizer.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return state["finished_epochs"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5, help="how many are to be finished")
    parser.add_argument("--resume", help="go on from this directory")
    parser.add_argument("--output", default="run")
    args = parser.parse_args()

    model, optimizer = build()
    start = load(args.resume, model, optimizer) if args.resume else 0
    for epoch in range(start, args.epochs):
        loss = train_one_epoch(model, optimizer, epoch)
        save(args.output, model, optimizer, epoch + 1)
        print(f"epoch {epoch + 1}: loss {loss:.4f}")


if __name__ == "__main__":
    main()
