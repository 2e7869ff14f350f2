"""Turn a finished run into a file that needs nothing of this program.

    python -m scripts.export_model output/digits/small_cnn/split0/miu_0.9_0 --format onnx --out miu.onnx

state_dict and safetensors hold the weights by the architecture's own names, so that torchvision.models.resnet18(
num_classes=2).load_state_dict or timm.create_model(NAME, num_classes=2) takes them; torch_export (a .pt2 file, read by
a torch that is not older) and onnx hold the network too. Beside FILE stands FILE.json: the classes in order, mean,
standard deviation, image size and view, digests, which run it is, and how many samples were forgotten.
"""

import argparse
import sys
from collections.abc import Sequence

from method.runs.exporting import export
from models.exporting import FORMATS
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, tell


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Export one run; returns the exit code."""
    parser = Parser(
        "python -m scripts.export_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=typed_path, help="the folder of a finished run")
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help="what FILE is to be")
    parser.add_argument("--out", metavar="FILE", required=True, type=typed_path, help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE and FILE.json, if they are there")
    wanted = parser.parse_args(arguments)
    tell(export(wanted.run, wanted.format, wanted.out, wanted.overwrite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
