"""Kernels that have imported torch before they start: to import it takes each chapter two seconds of a core.

One process imports what every chapter needs, and no more; each kernel is a copy of it (`fork`), made anew for
its chapter. Where processes cannot be copied well, kernels start as always.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

IMPORTED = [
    "torch",
    "matplotlib.figure",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "jupyter_book.cli.main",
]
"""The last because a copy imports again what the command that builds the book has imported."""


def become_kernel(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Turn this process, a copy, into a kernel."""
    import matplotlib
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # signals to a kernel are for what it has started, too
    os.chdir(folder)
    os.environ.clear()
    os.environ.update({"MPLBACKEND": "module://matplotlib_inline.backend_inline"} | environment)
    matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]  # which was looked at when it was imported
    IPKernelApp.launch_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])


class Copied:
    """A kernel's process, with the methods that Jupyter looks for."""

    stdin = stdout = stderr = None

    def __init__(self, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self.process = context.Process(
            target=become_kernel, args=(arguments, folder, environment), daemon=True
        )
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """How it ended, None while it runs."""
        return self.process.exitcode

    def wait(self) -> int | None:
        """Wait for its end."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Warm(LocalProvisioner):
    """Starts kernels as copies of one process."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel that the command stands for, in the folder and the environment asked for."""
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.cwd = kwargs.get("cwd") or os.getcwd()
        self.process = Copied(arguments, str(self.cwd), dict(kwargs.get("env", os.environ)))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def offer() -> None:
    """From now on, start kernels in this way."""
    if sys.platform == "linux":
        factory = KernelProvisionerFactory.instance()
        factory.provisioners["warm"] = EntryPoint("warm", "warm_kernels:Warm", factory.GROUP_NAME)
        factory.default_provisioner_name = "warm"
