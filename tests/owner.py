"""A trained classifier as somebody has it who never heard of this project: torchvision alone, habits of his own.

    python owner.py FOLDER [EPOCHS]

writes into FOLDER pictures (PNG and JPEG, in nested folders, of several sizes), a table with odd column names, the
checkpoint prod.pth, and what the network predicts, logits and all.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import resnet18

CLASSES = ("wolf", "cat", "dog")  # the order of the outputs
COLOURS = {"cat": (200, 70, 60), "dog": (60, 190, 80), "wolf": (70, 80, 200)}
PLACES = {"indoors": 40, "outdoors": 110}
PARTS = ("train", "train", "train", "train", "val", "test")
N, SIZE = 360, 32
VIEW = transforms.Compose(
    [
        transforms.Resize(SIZE * 256 // 224),
        transforms.CenterCrop(SIZE),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def draw(rng: np.random.Generator, name: str, place: str) -> Image.Image:
    """A square of the class's colour somewhere on a background of the place's brightness, with noise."""
    height, width = rng.integers(40, 70, 2)
    pixels = np.full((height, width, 3), PLACES[place], dtype=float)
    top, left = rng.integers(4, height - 28), rng.integers(4, width - 28)
    pixels[top : top + 24, left : left + 24] = COLOURS[name]
    return Image.fromarray((pixels + rng.normal(0, 25, pixels.shape)).clip(0, 255).astype(np.uint8))


def write_pictures(folder: Path) -> list[dict[str, str]]:
    """The rows of the table, whose pictures are written."""
    rng, rows = np.random.default_rng(0), []
    for number in range(N):
        name, place = sorted(CLASSES)[number % 3], list(PLACES)[number // 3 % 2]
        kind = "jpg" if number % 4 == 0 else "png"
        file = folder / f"pictures/{number % 5}/{place}/{number:04d}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(rng, name, place).save(file, **({"quality": 95} if kind == "jpg" else {}))
        if number % 37 == 0:  # some labels are wrong, as they are
            name = sorted(CLASSES)[(number + 1) % 3]
        part = PARTS[number // 6 % len(PARTS)]
        rows.append({"Datei": str(file.relative_to(folder)), "Tier Art": name, "Ort": place, "Teil": part})
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def train(images: torch.Tensor, targets: torch.Tensor, epochs: int) -> nn.Module:
    """ResNet-18 from scratch with a head of three outputs."""
    torch.manual_seed(0)
    network = resnet18(weights=None)
    network.fc = nn.Linear(network.fc.in_features, len(CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.005, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), targets[rows]).backward()
            optimizer.step()
    return network.eval()


def main(folder: Path, epochs: int) -> None:
    """Draw, train, save, predict."""
    torch.set_num_threads(1)
    rows = write_pictures(folder)
    images = torch.stack([VIEW(Image.open(folder / row["Datei"]).convert("RGB")) for row in rows])
    targets = torch.tensor([CLASSES.index(row["Tier Art"]) for row in rows])
    trains = torch.tensor([row["Teil"] == "train" for row in rows])
    network = train(images[trains], targets[trains], epochs)
    wrapped = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": epochs, "model_state_dict": wrapped}, folder / "prod.pth")
    with torch.no_grad():
        logits = network(images)
    torch.save({"logits": logits, "predicted": [CLASSES[code] for code in logits.argmax(1)]}, folder / "predicted.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
