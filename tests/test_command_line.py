"""Flags, files and mistakes, as a user types them."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from im_jax import command_line
from im_jax.config import Config
from im_jax.errors import ConfigError
from tests.conftest import REPOSITORY

CPU_DEBUG = f"--config={REPOSITORY}/configs/cpu_debug.py"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Where to write.", flag_values=values)


def parse(*arguments: str) -> Config:
    return command_line.parse(["program", *arguments], define_flags).config


def test_overrides_reach_fields_of_every_type() -> None:
    config = parse(
        CPU_DEBUG,
        "--config.seed=3",
        "--config.loss.policy=it",
        "--config.loss.weights.user=0.2",
        "--config.train.steps=7",
        "--config.optimizer.learning_rate=1e-4",
        "--config.data.drop_without_output=false",
        "--config.mesh.fsdp",
        "2",
    )
    assert (config.seed, config.loss.policy, config.loss.weights.user) == (3, "it", 0.2)
    assert (config.train.steps, config.optimizer.learning_rate) == (7, 1e-4)
    assert config.data.drop_without_output is False
    assert config.mesh.fsdp == 2


def test_overrides_may_stand_before_the_file() -> None:
    assert parse("--config.seed=5", CPU_DEBUG).seed == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"no configuration given; set --config=FILE"),
        (["--config=configs/nowhere.py"], r"configs/nowhere\.py: no such file; there are .*cpu_debug\.py"),
        ([CPU_DEBUG, "--config.loss.polcy=it"], r"config\.loss\.polcy: no such field; did you mean config\.loss\.policy"),
        ([CPU_DEBUG, "--config.policy=it"], r"config\.policy: no such field; did you mean config\.loss\.policy"),
        ([CPU_DEBUG, "--config.loss=it"], r"config\.loss is a group; set one of its fields: loss\.policy"),
        ([CPU_DEBUG, "--config.loss.policy=imm"], r"loss\.policy='imm' is not one of it, im.*did you mean im\?"),
        ([CPU_DEBUG, "--config.train.steps=abc"], r"--config\.train\.steps=abc must be a whole number"),
        ([CPU_DEBUG, "--config.train.steps=0"], r"train\.steps=0 and train\.epochs=0: set one"),
        ([CPU_DEBUG, "--config.train.epochs=2"], r"train\.steps=150 and train\.epochs=2 are both set"),
        ([CPU_DEBUG, "--config.optimizer.learning_rate=nan"], r"learning_rate=nan must be in \(0, inf\)"),
        ([CPU_DEBUG, "--config.loss.weights.user=-1"], r"loss\.weights\.user=-1\.0 must be"),
        ([CPU_DEBUG, "--config.data.max_length=4096"], r"max_length=4096 is above model\.max_positions=256"),
        ([CPU_DEBUG, "--config.train.accumulate=3"], r"batch_size=16 is not divisible by train\.accumulate=3"),
        ([CPU_DEBUG, "--config.data.template=tulo"], r"data\.template='tulo'.*did you mean tulu"),
        ([CPU_DEBUG, "--config.model.num_kv_heads=3"], r"num_heads=4 must be a multiple of model\.num_kv_heads=3"),
        ([CPU_DEBUG, "--config.model.embed_dim=130"], r"embed_dim=130 must be a multiple of model\.num_heads=4"),
        ([CPU_DEBUG, "--wrokdir=x"], r"wrokdir"),
        ([CPU_DEBUG, CPU_DEBUG], r"--config is given twice"),
        ([CPU_DEBUG, "--config.data.drop_without_output=maybe"], r"drop_without_output=maybe must be true or false"),
        ([CPU_DEBUG, "--config.seed=99999999999"], r"seed=99999999999 must be 4294967295 or less"),
        ([CPU_DEBUG, f"--config.train.steps={10**23}"], r"train\.steps=10{23} must be 2147483647 or less"),
        ([CPU_DEBUG, "--config.optimizer.learning_rate=1e300"], r"learning_rate=1e\+300 must be in"),
        ([CPU_DEBUG, "--config.loss.weights.user=1e300"], r"weights\.user=1e\+300 must be in \[0, 1e\+06\]"),
        ([CPU_DEBUG, "--config.model.rope_scaling.factor=0"], r"rope_scaling\.factor=0\.0 must be in \(0, inf\)"),
        ([CPU_DEBUG, "--config.model.path=m", "--config.model.num_layers=7"], r"model\.num_layers has no effect"),
        ([CPU_DEBUG, "stray"], r"unexpected argument 'stray'"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_what_to_set(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ConfigError, match=message):
        parse(*arguments)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def get_config(:\n", r"line 1|:1:|invalid syntax"),
        ("x = 1\n", r"get_config"),
        ("def get_config():\n    return 3\n", r"must return an im_jax\.config\.Config"),
        (
            "from im_jax.config import Config\n\n\ndef get_config():\n    return Config(sede=1)\n",
            r"unexpected keyword argument 'sede'",
        ),
        ("import sys\n\nsys.exit('bye')\n", r":3: SystemExit: bye"),
    ],
)
def test_broken_configuration_file_is_one_line(tmp_path: Path, body: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(body)
    with pytest.raises(ConfigError, match=message) as caught:
        parse(f"--config={path}")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("config.train.steps = '5'", r"train\.steps='5' is str; it must be int"),
        ("config.data = None", r"data=None is NoneType; it must be DataConfig"),
        ("config.optimizer.learning_rate = None", r"learning_rate=None is NoneType; it must be float"),
        ("config.data.template = None", r"data\.template=None"),
        ("config.train.accumulate = True", r"train\.accumulate=True is bool; it must be int"),
        ("config.train.stepz = 5", r"train\.stepz is no field; did you mean steps\?"),
    ],
)
def test_wrong_types_in_a_configuration_file_are_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "file.py"
    path.write_text(
        "from im_jax.config import Config, TrainConfig\n\n\n"
        f"def get_config():\n    config = Config(train=TrainConfig(steps=1))\n    {change}\n    return config\n"
    )
    with pytest.raises(ConfigError, match=message):
        parse(f"--config={path}")


def test_whole_numbers_are_welcome_where_numbers_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text(
        "from im_jax.config import Config, TrainConfig\n\n\n"
        "def get_config():\n    return Config(train=TrainConfig(epochs=2))\n"
    )
    assert parse(f"--config={path}").train.epochs == 2


def test_user_error_is_one_line_on_stderr_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "im_jax.train", CPU_DEBUG, "--config.loss.polcy=it"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: config.loss.polcy: no such field")
    assert "Traceback" not in done.stderr
