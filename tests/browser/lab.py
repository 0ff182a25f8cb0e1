"""A JupyterLab of its own and a Chromium that looks at it, for the browser tests and for screenshots.

The server and its kernels are those of the very environment that runs this, on a free port of this machine,
with a random token and with all of Jupyter's folders moved away from the user's own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

START_TIMEOUT_S = 90
RUN_TIMEOUT_MS = 400_000
VIEWPORT: ViewportSize = {"width": 1280, "height": 900}

OWN_FOLDERS = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "MPLCONFIGDIR",
)  # fmt: skip
SETTINGS = {
    # The news toast would cover what is looked at, and asks a server on the internet.
    "apputils-extension/notification": {
        "checkForUpdates": False,
        "fetchNews": "false",
        "doNotDisturbMode": True,
    },
    # Every cell stays in the page, so that what is below the fold can be read and photographed.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]

KERNEL_IS_IDLE = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL_CELLS = """() => {
    window.allCellsRan = false;
    const ran = window.jupyterapp.commands.execute('notebook:run-all-cells');
    ran.finally(() => { window.allCellsRan = true; });
}"""
ERRORS_IN_OUTPUTS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .flatMap(cell => cell.type === 'code' ? cell.outputs.toJSON() : [])
    .filter(output => output.output_type === 'error')
    .map(output => `${output.ename}: ${output.evalue}`)"""


def why_no_browser() -> str | None:
    """The reason why nothing can be looked at here, or None."""
    return None if shutil.which("chromium") else "chromium is not installed (on Debian: apt-get install chromium)"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab whose files are those of `folder`."""

    address: str
    token: str
    folder: Path


@dataclass(frozen=True)
class OpenNotebook:
    """A notebook in a browser's page, with everything the page complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def run_all_cells(self) -> None:
        self.page.evaluate(RUN_ALL_CELLS)
        self.page.wait_for_function("() => window.allCellsRan", timeout=RUN_TIMEOUT_MS)
        self.page.wait_for_function(KERNEL_IS_IDLE, timeout=RUN_TIMEOUT_MS)

    def errors_in_outputs(self) -> list[str]:
        errors: list[str] = self.page.evaluate(ERRORS_IN_OUTPUTS)
        return errors


@contextmanager
def jupyter_lab(folder: Path, state: Path) -> Iterator[Lab]:
    """Serve the notebooks of `folder`; settings, logs and sockets go below `state`."""
    lab = Lab(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16), folder)
    with (state / "jupyter.log").open("w") as log:
        server = subprocess.Popen(_command(lab), env=_environment(state), stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_it_answers(lab, server, state / "jupyter.log")
            yield lab
        finally:
            server.terminate()
            server.wait(timeout=30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; playwright's own download is not needed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, lab: Lab, name: str) -> Iterator[OpenNotebook]:
    """One notebook of the lab in a fresh browser profile, its kernel idle."""
    context = browser.new_context(viewport=VIEWPORT)
    notebook = OpenNotebook(context.new_page())
    notebook.page.on("console", lambda message: _note(message, notebook.complaints))
    notebook.page.on("pageerror", lambda error: notebook.complaints.append(f"pageerror: {error}"))
    notebook.page.goto(f"{lab.address}/lab/tree/{name}?token={lab.token}&reset", wait_until="domcontentloaded")
    notebook.page.locator(".jp-Notebook").first.wait_for(timeout=RUN_TIMEOUT_MS)
    notebook.page.wait_for_function(KERNEL_IS_IDLE, timeout=RUN_TIMEOUT_MS)
    yield notebook
    context.close()


def _note(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type == "error":
        complaints.append(f"console: {message.text} ({message.location.get('url', '')})")


def _command(lab: Lab) -> list[str]:
    return [
        str(Path(sys.executable).with_name("jupyter-lab")),
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={lab.address.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        f"--ServerApp.root_dir={lab.folder}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def _environment(state: Path) -> dict[str, str]:
    folders = {name: state / name.lower() for name in OWN_FOLDERS}
    for folder in folders.values():
        folder.mkdir()
    for name, settings in SETTINGS.items():
        file = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    return {**os.environ, **{name: str(folder) for name, folder in folders.items()}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_it_answers(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{lab.address}/api/status?token={lab.token}", timeout=2).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"JupyterLab did not start; its log ends: {log.read_text()[-1000:]}")
