"""Parts as processes with a time limit: what one of them breaks, or how long it hangs, is nothing to the others."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.acceptance import ROOT
from scripts.acceptance.options import Options, Part
from scripts.acceptance.rows import FAIL, Row, reason

LOOK_SECONDS, GRACE_SECONDS = 0.2, 10.0


def run_part(part: Part, options: Options, tell: Callable[[Row], None]) -> tuple[list[Row], float]:
    """The part's rows, each told as it comes, and its seconds. A part that breaks or is late has a row that fails."""
    start, rows = time.monotonic(), []
    limit = part.limit(options.scope)
    log = options.out / f"{part.name}.log"
    reader, writer = os.pipe()
    words = [sys.executable, "-m", "scripts.acceptance.child", part.function, options.as_json(), str(writer)]
    with log.open("wb") as said:
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=said, stderr=said, pass_fds=[writer], start_new_session=True
        )  # fmt: skip
    os.close(writer)
    late = False
    try:
        for row in arriving(reader, process, start + limit):
            rows.append(row)
            tell(row)
        late = process.poll() is None and not ended_within(process, start + limit)
    finally:
        os.close(reader)
        end(process)
    for row in judged(rows, process.returncode, f"ended after {limit} s, its time limit" if late else "", log):
        rows.append(row)
        tell(row)
    return rows, time.monotonic() - start


def judged(rows: list[Row], code: int, late: str, log: Path) -> Iterator[Row]:
    """What is to be said of the process beside the rows that it gave."""
    if late:
        yield Row("the part itself", FAIL, late, f"its log is {log}")
    elif code and not any(row.status == FAIL for row in rows):
        said = reason(log.read_text(errors="replace"))
        yield Row("the part itself", FAIL, f"ended with {code}", said or "and said nothing")
    elif not rows:
        yield Row("the part itself", FAIL, "gave no row", f"its log is {log}")


def arriving(reader: int, process: subprocess.Popen, deadline: float) -> Iterator[Row]:
    """The rows as they come, until the process has ended or its time is over."""
    rest = b""
    while time.monotonic() < deadline:
        ended = process.poll() is not None  # asked before: what it wrote last is there then
        if select.select([reader], [], [], 0 if ended else LOOK_SECONDS)[0]:
            came = os.read(reader, 1 << 16)
            *lines, rest = (rest + came).split(b"\n")
            yield from (Row(**json.loads(line)) for line in lines)
            if came:
                continue
            return
        if ended:
            return


def ended_within(process: subprocess.Popen, deadline: float) -> bool:
    """Whether a process ends by itself in time."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: subprocess.Popen) -> None:
    """End the process and all that it started: asked first, since torchrun must end its own."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # all have ended
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
