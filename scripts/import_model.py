"""Make a run folder of a model that another program trained, as the one that unlearning starts from.

    python -m scripts.import_model prod.pth --model resnet18 --dataset custom --data_dir my_data --classes cat,dog

FILE is a state dict of the architecture's own names (torchvision, timm) with its last layer: what torch.save wrote,
bare or under model, state_dict or model_state_dict, or a .safetensors file. Names and shapes must fit exactly. Train,
val and test are predicted once, and the accuracies are printed: compare them with those that you know. The folder is
that of `main.py --method pretrain` with the same flags, and every method finds it there. What trained the model is not
known, so flags of training are refused, and seed and initial weights are not compared with those of later runs.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from method.runs.importing import describe_import, describe_next, import_command
from method.runs.making import make_run
from utils.errors import UserError
from utils.paths import typed_path
from utils.signals import INTERRUPTED
from utils.terminal import LogLines, Parser, on_terminal, say, tell


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Import and show what it predicts; returns the exit code."""
    parser = Parser(
        "python -m scripts.import_model",
        usage="python -m scripts.import_model FILE [--classes A,B,...] [main.py's flags of data and model]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=typed_path,
        help="the checkpoint; main.py's flags of data and model follow it, or --config",
    )
    parser.add_argument(
        "--classes",
        help="the names of the outputs in their order, with commas between; they are those of the data's labels "
        "(default: in the order of the labels, which is printed)",
    )
    logging.basicConfig(level=logging.INFO, handlers=[LogLines()], force=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].startswith("-") and not {"-h", "--help"} & set(words):
        raise UserError(f"the file to import comes first, and {words[0]} after it")
    wanted, flags = parser.parse_known_args(words)
    classes = tuple(name.strip() for name in wanted.classes.split(",")) if wanted.classes else ()
    command, full = import_command(wanted.file, classes, flags)
    try:
        directory, notes = make_run(command)
    except KeyboardInterrupt:
        say("interrupted: run the same command again")
        return INTERRUPTED
    tell(describe_import(directory, classes))
    tell("\n".join(["", describe_next(full, directory), ""]))
    tell(f"imported: {directory.path}" if notes is None else directory.already_done(notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
