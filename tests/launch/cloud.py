"""A cloud on this machine for the scripts in `launch/`: stand-ins on PATH, and a small repository to copy to its hosts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

WHERE = ["--name=run-1", "--project=my-project", "--zone=us-west4-a"]
V5E = [*WHERE, "--topology=v5e:2x4"]

# What a host runs in these tests: the next line of a file of its own says how the run ends there.
WORKER = """\
line=$(head -n 1 "$CLOUD/does/$HOST"); sed -i 1d "$CLOUD/does/$HOST"
echo "attempt on $HOST: $line"
case "$line" in
  offline) until [ -e "$CLOUD/hosts/run-1-1/im_jax/run/pid" ]; do sleep 0.05; done
           echo '{"refused": {"REFUSED": {"message": "UNAVAILABLE: no route"}}}' | sed "s/REFUSED/$1/" > "$CLOUD/new"
           mv "$CLOUD/new" "$CLOUD/plan.json"; until [ -e "$CLOUD/online" ]; do sleep 0.05; done ;;
  dead) touch "$CLOUD/dead-$HOST"; exec sleep 1000 ;;
  anew) rm "$HOME/im_jax_host.sh"; exit 1 ;;
  preempt) touch "$CLOUD/preempt"; exec sleep 1000 ;;
  wait) exec sleep 1000 ;;
  deaf) trap '' TERM; while :; do sleep 0.1; done ;;
  save) trap 'echo saved >> "$CLOUD/saved-$HOST"; sleep 0.3; exit 42' TERM; touch "$CLOUD/up-$HOST"
        while :; do sleep 0.1; done ;;
  bad) echo "RuntimeError: TPU initialization failed: open(/dev/vfio/0): busy"; exit 1 ;;
  *) exit "$line" ;;
esac
"""


@dataclass
class Cloud:
    """The folder of a stand-in cloud, and how scripts are run against it."""

    path: Path
    repository: Path

    def plan(self, **plan: Any) -> None:
        (self.path / "plan.json").write_text(json.dumps(plan))

    def does(self, **lines: str) -> None:
        """What the run on each host does, an attempt a word."""
        (self.path / "does").mkdir(exist_ok=True)
        for host, words in lines.items():
            (self.path / "does" / host.replace("_", "-")).write_text("\n".join(words.split()) + "\n")

    def program(self, name: str, script: str) -> None:
        """A program on PATH, for the shell."""
        path = self.path / "bin" / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("IM_JAX", "CLOUDSDK"))
        }
        return kept | {"CLOUD": str(self.path), "PATH": f"{self.path}/bin:{os.environ['PATH']}"}

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.repository / "launch" / script, *arguments],
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Test runners in several processes ignore it, and no shell can trap what it finds ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, script: str, *arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """Standard output and error of a script, whose exit code must be as given."""
        process = self.start(script, *arguments, **environment)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err)
        return out, err

    def tpu(self, command: str, *arguments: str, code: int = 0) -> tuple[str, str]:
        return self.run("tpu.sh", command, *V5E, *arguments, code=code)

    def calls(self, *words: str) -> list[list[str]]:
        """The arguments of each call of a stand-in that has all of these words."""
        file = self.path / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [call for call in map(json.loads, lines) if all(word in call for word in words)]


def make_cloud(path: Path) -> Cloud:
    """A cloud, whose repository has the scripts of this one, and an installation that takes no time."""
    cloud = Cloud(path / "cloud", path / "repository")
    (cloud.path / "bin").mkdir(parents=True)
    cloud.plan()
    for name, stand_in in (("gcloud", "gcloud"), ("kubectl", "program"), ("sbatch", "program")):
        source = REPOSITORY / "tests" / "launch" / f"stand_in_{stand_in}.py"
        cloud.program(name, f'exec "{sys.executable}" -S -E "{source}" "$@"')
    shutil.copytree(REPOSITORY / "launch", cloud.repository / "launch")
    (cloud.repository / "worker.sh").write_text(WORKER)
    (cloud.repository / "launch" / "environment.sh").write_text(
        'REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"\n'
        'VENV="$REPOSITORY/.venv"\n'
        'install_into_venv() { mkdir -p "$IM_JAX_VENV/bin"; ln -sf /bin/sh "$IM_JAX_VENV/bin/python"; '
        'echo "extras: $1"; [ ! -e "$CLOUD/no_install_$HOST" ]; }\n'
    )
    git = ["git", "-C", str(cloud.repository), "-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "The code"], check=True)
    return cloud
