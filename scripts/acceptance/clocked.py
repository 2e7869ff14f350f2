"""main.py in this process with clocks: `python -m scripts.acceptance.clocked FILE [main.py arguments]`.

FILE gets the seconds of each part, as JSON. A part's seconds are its own: waiting for images counts as reading, whoever
waits. They begin with the process, so that imports are part of the start.
"""

import json
import os
import sys
import time
from pathlib import Path

from profile_job import Clock

import main as program
from datasets.loading import loaders
from method.runs import runner
from method.training import engine
from method.training.resume import Resumable

START, TRAINING, EVALUATION, READING, SAVING, REST = "start", "training", "evaluation", "reading", "saving", "the rest"


def main(file: Path, arguments: list[str]) -> int:
    """Run, and write the clocks where the run ended well."""
    clock = Clock()
    clock.seconds[START] = since_the_process_began()
    clock.around(runner, "train_and_evaluate", REST)
    clock.around(engine.Engine, "train", TRAINING)
    clock.around(runner, "predict_and_evaluate", EVALUATION)
    clock.around(Resumable, "save", SAVING)
    clock.around(runner, "save_model", SAVING)
    clock.around_each(loaders.Loader, "_pass", READING)
    with clock.part(START):
        code = program.main(arguments)
    if code == 0:
        file.write_text(json.dumps(clock.seconds))
    return code


def since_the_process_began() -> float:
    """Seconds since this process began; 0 where the system does not say."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
