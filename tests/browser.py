"""A headless Chromium with one page, spoken to over a pipe (DevTools protocol), so that no package is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH")
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-extensions", "--force-color-profile=srgb",
)  # fmt: skip
# The protocol's pipes are the descriptors 3 and 4, which nobody can be sure to be free in this process.
START = "import os, sys; r, w, *rest = sys.argv[1:]; os.dup2(int(r), 3); os.dup2(int(w), 4); os.execv(rest[0], rest)"


class Browser:
    """Use as a context; `open` a file, `run` JavaScript in it; `requests` and `complaints` since it was opened."""

    def __init__(self, folder: Path, width: int = 1400, height: int = 1000, limit: float = 60) -> None:
        self.folder, self.size, self.limit = folder, (width, height), limit
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._number, self._rest = 0, b""

    def __enter__(self) -> "Browser":
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Above 4, so that putting one in its place does not close the other.
        given = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 5) for end in (theirs_in, theirs_out)]
        command = [sys.executable, "-c", START, *map(str, given), str(CHROMIUM), *FLAGS]
        command += [f"--user-data-dir={self.folder / 'profile'}"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*command, "about:blank"], pass_fds=given, **quiet)
        for end in (theirs_in, theirs_out, *given):
            os.close(end)
        self._session = ""
        try:
            self._attach()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _attach(self) -> None:
        target = self._call("Target.createTarget", url="about:blank")
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        size = {"width": self.size[0], "height": self.size[1], "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, file: Path, fragment: str = "") -> float:
        """Seconds until the page was loaded and had run its script."""
        self.requests, self.complaints = [], []
        start = time.perf_counter()
        self._call("Page.navigate", url=file.as_uri() + fragment)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
        return time.perf_counter() - start

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + self.limit
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON carries it."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: str, number: int, text: str = "") -> None:
        """A key as a person presses it, on what has the focus."""
        shared = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self._call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def screenshot(self, file: Path, selector: str = "") -> Path:
        """PNG of the whole page, or of one element."""
        box = "document.documentElement" if not selector else f"document.querySelector({json.dumps(selector)})"
        x, y, width, height = self.run(
            f"(({{x, y, width: w, height: h}}) => [x, y, w, h])({box}.getBoundingClientRect())"
        )
        left, top = self.run("[scrollX, scrollY]")
        clip = {"x": x + left, "y": y + top, "width": width, "height": height, "scale": 1}
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(found["data"]))
        return file

    def media(self, name: str) -> None:
        """Show the page as for "print"; "" for the screen."""
        self._call("Emulation.setEmulatedMedia", media=name)

    def print(self, file: Path) -> Path:
        """The page as it is printed, PDF."""
        file.write_bytes(base64.b64decode(self._call("Page.printToPDF", printBackground=False)["data"]))
        return file

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + self.limit
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(f"{params['type']}: {params['args']}")
