"""A stand-in for `gcloud`: writes down its arguments, and has a cloud whose hosts are folders of this machine.

The cloud is the folder $CLOUD. `plan.json` says what happens: `workers` of a slice, `creations` (the states that each
queued resource goes through, a look at a time), `refused` (parts of a command line, and what is answered).
A file `preempt` takes everything away, as a preemption does. What is sent to a host is copied into its folder, and
commands run there in a shell, with that folder as home.
"""

import fcntl
import json
import os
import signal
import sys
from pathlib import Path

CLOUD = Path(os.environ["CLOUD"])
PLAN = json.loads((CLOUD / "plan.json").read_text())
STATE = CLOUD / "resource.json"


def stop(message: str, code: int = 1) -> None:
    sys.stderr.write(f"ERROR: {message}\n")
    sys.exit(code)


def load() -> dict:
    if not STATE.exists():
        stop("NOT_FOUND: Resource was not found")
    return json.loads(STATE.read_text())


def save(resource: dict) -> None:
    STATE.write_text(json.dumps(resource))


def kill_runs() -> None:
    """What runs on the hosts ends, as on a machine without power: the run, and before it what watches it."""
    for file in CLOUD.glob("hosts/*/im_jax/run/pid"):
        try:
            if (file.parent / "boot").read_text() != Path("/proc/sys/kernel/random/boot_id").read_text():
                continue
            pid = int(file.read_text())
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
        except (OSError, ValueError):
            continue


def remove_hosts() -> None:
    import shutil  # here, since it takes as long as most of what is asked for

    kill_runs()
    for dead in CLOUD.glob("dead-*"):
        dead.unlink()
    shutil.rmtree(CLOUD / "hosts", ignore_errors=True)


def make_host(host: str) -> None:
    """With an environment already, unless the plan says otherwise: looking for Python takes long."""
    home = CLOUD / "hosts" / host
    home.mkdir(parents=True)
    if not PLAN.get("bare"):
        (home / "im_jax/venv/bin").mkdir(parents=True)
        (home / "im_jax/venv/bin/python").symlink_to("/bin/true")


def create(names: list[str], hosts: list[str]) -> None:
    if STATE.exists():
        stop("ALREADY_EXISTS: Resource already exists")
    made = len(list(CLOUD.glob("made-*")))
    (CLOUD / f"made-{made}").touch()
    creations = PLAN.get("creations", [["ACTIVE"]])
    for host in hosts:
        make_host(host)
    save({"names": names, "hosts": hosts, "states": creations[min(made, len(creations) - 1)]})


def state() -> str:
    """Of the queued resource; each look brings the next of the plan."""
    resource = load()
    if (CLOUD / "preempt").exists():
        kill_runs()
        return "SUSPENDED"
    first, *rest = resource["states"]
    save(resource | {"states": rest or [first]})
    return first


def host_of(name: str, flags: dict[str, str]) -> str:
    host = f"{name}-{flags['worker']}" if "worker" in flags else name
    load()
    lost = (CLOUD / "preempt").exists() or (CLOUD / f"dead-{host}").exists()
    if lost or not (CLOUD / "hosts" / host).is_dir():
        stop(f"{host} cannot be reached", 255)
    return host


def ssh(name: str, flags: dict[str, str]) -> None:
    """As gcloud does: the command is split at spaces, and ssh joins the pieces for the shell of the host."""
    host = host_of(name, flags)
    home = CLOUD / "hosts" / host
    command = " ".join(flags["command"].split(" "))
    environment = os.environ | {"HOME": str(home), "HOST": host}
    environment.pop("IM_JAX_VENV", None)
    os.chdir(home)
    os.execvpe("bash", ["bash", "-c", command], environment)


def scp(words: list[str], flags: dict[str, str]) -> None:
    import shutil

    *sources, target = words
    if ":" in target:
        name, _, path = target.partition(":")
        home = CLOUD / "hosts" / host_of(name, flags)
        for source in sources:
            shutil.copy(source, home / path)
        return
    name, _, path = sources[0].partition(":")
    source = CLOUD / "hosts" / host_of(name, flags) / path
    if not source.exists():
        stop(f"{path}: No such file or directory")
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def queued_resource(verb: str, name: str, flags: dict[str, str]) -> None:
    if verb == "create":
        count = int(flags.get("node-count", "1"))
        nodes = (
            [flags["node-id"]]
            if "node-id" in flags
            else [f"{flags['node-prefix']}-{at}" for at in range(count)]
        )
        create(nodes, [f"{node}-{worker}" for node in nodes for worker in range(PLAN.get("workers", 2))])
    elif verb == "describe":
        if "failedData" in flags["format"]:
            print("There is no more capacity in the zone")
        else:
            print(state())
    elif verb == "delete":
        load()
        remove_hosts()
        STATE.unlink()
        (CLOUD / "preempt").unlink(missing_ok=True)


def instance_group(verb: str, name: str, flags: dict[str, str]) -> None:
    group = CLOUD / f"group-{name}"
    if verb == "create":
        group.write_text(flags["size"])
        hosts = [f"{name}-{at:04x}" for at in range(int(flags["size"]))]
        for host in hosts:
            make_host(host)
        save({"names": [], "hosts": hosts})
    elif not group.exists():
        stop(f"The resource 'instanceGroupManagers/{name}' was not found")
    elif verb == "list-instances":
        for at in reversed(range(int(group.read_text()))):
            print(f"{name}-{at:04x}\t{'STOPPED' if (CLOUD / 'preempt').exists() else 'RUNNING'}")
    elif verb == "delete":
        group.unlink()
        (CLOUD / "preempt").unlink(missing_ok=True)
        if not list(CLOUD.glob("group-*")):
            remove_hosts()


def main(arguments: list[str]) -> None:
    with (CLOUD / "calls.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(arguments) + "\n")
    for part, answer in PLAN.get("refused", {}).items():
        if part in " ".join(arguments):
            stop(answer["message"], answer.get("code", 1))
    flags = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    words = [word for word in arguments if not word.startswith("--") and word != "alpha"]
    match words:
        case ["compute", "tpus", "queued-resources", verb, name]:
            queued_resource(verb, name, flags)
        case ["compute", "tpus", "tpu-vm", "describe", name]:
            load()
            print(
                PLAN.get("workers", 2)
                if "networkEndpoints" in flags["format"]
                else PLAN.get("nodes", {}).get(name, "READY\tHEALTHY")
            )
        case ["compute", "tpus", "tpu-vm", "ssh", name] | ["compute", "ssh", name]:
            ssh(name, flags)
        case ["compute", "tpus", "tpu-vm", "scp", *rest] | ["compute", "scp", *rest]:
            scp(rest, flags)
        case ["compute", "instance-groups", "managed", verb, name]:
            instance_group(verb, name, flags)
        case ["compute", "instance-templates" | "resource-policies", "create", *_]:
            pass
        case ["compute", "instance-templates" | "resource-policies", "delete", name]:
            stop(f"The resource '{name}' was not found")
        case ["storage", "rsync", source, target]:
            Path(target).mkdir(parents=True)
            (Path(target) / "from.txt").write_text(source)
        case _:
            stop(f"unrecognized arguments: {arguments}", 2)


main(sys.argv[1:])
