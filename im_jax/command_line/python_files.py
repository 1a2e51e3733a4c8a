"""Python files that users write: run, with whatever goes wrong in them as one line."""

import importlib.util
import pathlib
import traceback
import types
from collections.abc import Callable
from typing import Any

from im_jax.config import Config
from im_jax.errors import ConfigError


def read_config(path: pathlib.Path) -> Config:
    """What `get_config()` of a file returns.

    Raises:
        ConfigError: the file is wrong in any way, which is named with its line.
    """
    config = use_file(path, lambda module: _call(module, path))
    if config is None:
        raise ConfigError(f"{path}: get_config() returns nothing; end it with: return config")
    if not isinstance(config, Config):
        kind = type(config).__name__
        raise ConfigError(f"{path}: get_config() must return an im_jax.config.Config, not {kind}")
    return config


def use_file(path: pathlib.Path, use: Callable[[types.ModuleType], Any]) -> Any:
    """Run a Python file and give its module to `use`; whatever goes wrong is one line with file and line."""
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config={path} is not a Python file; give one with a function get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return use(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the file does wrong is the user's to see
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path.resolve())
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{path}:{line}" if line else str(path)
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error


def _call(module: types.ModuleType, path: pathlib.Path) -> Any:
    if hasattr(module, "get_config"):
        return module.get_config()
    if hasattr(module, "get_sweep"):
        raise ConfigError(
            f"{path} is a sweep; run it with: python -m im_jax.sweep --config={path}, "
            "or one run of it with --run=NAME"
        )
    raise ConfigError(f"{path} has no get_config(); write one that returns an im_jax.config.Config")
