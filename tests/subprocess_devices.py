"""Runs a check in a process of its own that has several CPU devices.

The number of devices is fixed when JAX starts, so a test that needs eight cannot share the process of the
others.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def run_on_devices(source_or_module: str, devices: int = 8, arguments: Sequence[str] = ()) -> str:
    """Runs Python source, or a module by its dotted name, on `devices` CPU devices.

    Args:
        source_or_module: e.g. `"import jax; print(len(jax.devices()))"` or `"tests.models.sharded"`.
        devices: number of devices.
        arguments: become `sys.argv[1:]`.

    Returns:
        Standard output.

    Raises:
        AssertionError: with all output, if the process fails.
    """
    is_module = all(part.isidentifier() for part in source_or_module.split("."))
    command = [sys.executable, "-m" if is_module else "-c", source_or_module, *arguments]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # each program runs once
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
    }
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
