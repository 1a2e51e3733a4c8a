"""Imports run downward only, between rooms and within them, also those inside functions."""

import ast
from pathlib import Path

from tests.conftest import REPOSITORY

LAYERS = (
    # From the ground up: a module may import those of its own line and of the lines before. The longest
    # name that fits a module says where it is.
    ("", "errors", "text", "console", "token_classes", "batch", "devices", "hardware", "products", "loops"),
    ("stores", "files", "appended", "activity", "interruption", "events", "recorder"),
    ("cluster",),
    ("config", "saved_config", "child_process", "command_line.runner"),
    ("mesh", "cluster.joining"),
    ("data",),
    ("losses",),
    ("validation",),
    ("command_line",),
    ("models",),
    ("generation",),
    ("evaluation",),
    ("studies",),
    ("training",),
    ("pods",),
    ("opening",),
    ("analysis",),
    ("sweeps",),
    (
        *("studies.rewrites.experiments", "studies.instruction_modelling"),
        *("studies.instruction_modelling_tiers", "studies.small_models"),
    ),
    ("bench",),
    ("data.builders", "doors"),
)
DOORS = (
    "train",
    "generate",
    "chat",
    "evaluate",
    "analyse",
    "export",
    "inspect_loss",
    "data_report",
    "cache",
    "sweep",
    "sweep_worker",
    "plan",
    "markov",
    "rewrites",
    "__main__",
)
"""What is started with `python -m`; only doors import doors."""


def modules() -> dict[str, Path]:
    """All modules of the package by name."""
    named = {}
    for path in sorted((REPOSITORY / "im_jax").rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that one imports; a package that is named only to reach into it does not count."""
    if name == "im_jax":
        return set()  # the public face looks names up when they are used, and tells type checkers of them
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("im_jax"):
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("im_jax")}
    return found - {name}


def height(module: str) -> int:
    """Which layer a module is in."""
    inside = module.removeprefix("im_jax").removeprefix(".")
    if inside.partition(".")[0] in DOORS:
        return len(LAYERS)
    fits = [
        (len(prefix), at)
        for at, layer in enumerate(LAYERS)
        for prefix in layer
        if inside == prefix or inside.startswith(f"{prefix}.")
    ]
    assert fits, f"{module} is in no layer: give it a place in LAYERS"
    return max(fits)[1]


def test_imports_run_downward() -> None:
    known = modules()
    upward = [
        f"{name} imports {other}, which is above it"
        for name, path in known.items()
        for other in imported(name, path, known)
        if height(other) > height(name)
    ]
    assert not upward, "\n".join(upward)


def test_no_module_imports_itself_by_a_detour() -> None:
    known = modules()
    graph = {name: imported(name, path, known) for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_losses_know_no_data_and_data_no_jax() -> None:
    known = modules()
    for name, path in known.items():
        if name.startswith("im_jax.losses"):
            assert not {other for other in imported(name, path, known) if other.startswith("im_jax.data")}
        if name.startswith("im_jax.data"):
            text = path.read_text(encoding="utf-8")
            tops = {n.names[0].name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import)}
            assert not tops & {"jax", "flax", "optax"}, name


def test_nothing_imports_the_benchmarks() -> None:
    known = modules()
    for name, path in known.items():
        if not name.startswith("im_jax.bench"):
            used = {other for other in imported(name, path, known) if other.startswith("im_jax.bench")}
            assert not used, f"{name} imports {used}"
