"""Train, with everything in one training checkpoint, laid out as torchvision's references do it.

python train_pth.py --epochs 5                            # epochs 1 to 5, into checkpoint.pth
ckpt-regen apply checkpoint.pth --every 5                 # reads the epoch from the file
python train_pth.py --epochs 10 --resume checkpoint.pth   # epochs 6 to 10, from the edited weights
"""

import argparse

import torch
from task import network, train_one_epoch


def build(total_epochs: int = 30):
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    lr_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_epochs)
    return model, optimizer, lr_scheduler


def save(path, model, optimizer, lr_scheduler, epoch: int, args: dict) -> None:
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": lr_scheduler.state_dict(),
        "epoch": epoch,  # the index of the last finished epoch: the first is 0
        "args": args,
    }
    torch.save(checkpoint, path)


def load(path, model, optimizer, lr_scheduler) -> int:
    """Restores everything; the index of the next epoch."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    lr_scheduler.load_state_dict(checkpoint["lr_scheduler"])
    return checkpoint["epoch"] + 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5, help="how many are to be finished")
    parser.add_argument("--resume", help="go on from this checkpoint")
    parser.add_argument("--output", default="checkpoint.pth")
    args = parser.parse_args()

    model, optimizer, lr_scheduler = build()
    start = load(args.resume, model, optimizer, lr_scheduler) if args.resume else 0
    for epoch in range(start, args.epochs):
        loss = train_one_epoch(model, optimizer, epoch)
        lr_scheduler.step()
        save(args.output, model, optimizer, lr_scheduler, epoch, vars(args))
        print(f"epoch {epoch + 1}: loss {loss:.4f}")


if __name__ == "__main__":
    main()
