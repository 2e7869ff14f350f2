"""A Python that has imported what commands import first: a server forks for each, which saves seconds of a processor.

    python tests/warm.py SOCKET             the server, until its standard input ends
    python tests/warm.py SOCKET WORD...     what `python WORD...` does, in a fork of the server

For many commands that end by themselves: a signal to the second form does not reach what it started.
"""

import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

FIRST = (
    *("torch", "torch._dynamo", "torchvision", "yaml", "tqdm", "PIL.Image"),
    *("sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection", "vl_convert"),
)
DESCRIPTORS = 3  # standard input, output and error


def ask(place: str, words: Sequence[str]) -> int:
    """Have the server run a command with this process's folder, environment and streams; returns its exit code."""
    told = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        socket.send_fds(server, [len(told).to_bytes(8)], range(DESCRIPTORS))
        server.sendall(told)
        code = server.recv(1)
    if not code:
        raise ConnectionError("the server ended before the command did")
    return code[0]


def serve(place: str) -> list[str]:
    """Fork for every command; returns, in the fork alone, the command's words when all else is as it asks."""
    for name in FIRST:
        importlib.import_module(name)
    gc.freeze()  # a fork's collections, its last one among them, would write to all of it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return _started(asked)
            asked.close()
            _bury()
    sys.exit()


def _bury() -> None:
    """Take leave of the forks that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _started(asked: socket.socket) -> list[str]:
    """One process waits for the command and tells its exit code; in the other this returns."""
    length, streams, _, _ = socket.recv_fds(asked, 8, DESCRIPTORS)
    words, folder, environment = json.loads(asked.recv(int.from_bytes(length), socket.MSG_WAITALL))
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asked.sendall(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    asked.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # The server's own know whether they can be sought in, which may hold no longer.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return words


def become(words: Sequence[str]) -> None:
    """What Python does with these words."""
    first, *rest = words
    if first == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.path[0], sys.argv = os.getcwd(), rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(first).resolve().parent), list(words)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    place, *command = sys.argv[1:]
    if command:
        sys.exit(ask(place, command))
    become(serve(place))
