"""Flags, files and mistakes, as a user types them."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from im_jax.command_line import Command, CommandLine
from im_jax.config import Config
from im_jax.errors import ConfigError
from tests.conftest import REPOSITORY

CPU_DEBUG = f"--config={REPOSITORY}/configs/cpu_debug.py"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "Where to write.", flag_values=values)


def work(_: CommandLine) -> None:
    raise AssertionError("these tests only parse")


def parse(*arguments: str) -> Config:
    return Command("", work, define_flags).parse(["program", *arguments]).config


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
        ("x = 1\n", r"has no get_config\(\); write one"),
        ("def get_config():\n    pass\n", r"get_config\(\) returns nothing; end it with: return config"),
        ("def get_sweep():\n    pass\n", r"is a sweep; run it with: python -m im_jax\.sweep --config="),
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


SAMPLES = (
    "--config.loss.polcy=it",
    "--config.loss.policy=IM",
    "--config.train.steps=abc",
    "--config.optimizer.learning_rate=-1",
    "--config.data.source=rewrites --config.data.rewrites.num_rules=0",
    "--config.data.max_length=4096",
    "--config.train.accumulate=3",
    "--config.model.path=llama --config.model.num_layers=7",
    "--config=configs/sweeps/im_and_it.py",
)


def test_the_documentation_shows_the_messages_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith("error: ")]
    said = []
    for sample in SAMPLES:
        words = sample.split()
        with pytest.raises(ConfigError) as caught:
            parse(*words if words[0].startswith("--config=") else (CPU_DEBUG, *words))
        said.append(f"error: {caught.value}")
    assert shown == said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((CPU_DEBUG, "--config.data.source=jsonl", "--config.data.num_generated=5"), r"num_generated has no effect: it needs data\.source=generated, not data\.source=jsonl"),
        (("--config", "=", "configs/cpu_debug.py"), r"--config = \.\.\.: write it without spaces: --config=FILE"),
        (("--config", "=configs/cpu_debug.py"), r"--config= names no file; write it without spaces: --config=FILE"),
        (("--config",), r"--config has no value; write --config=FILE"),
        ((CPU_DEBUG, "--workdir", "=", "runs/a"), r"--workdir = \.\.\.: write it without spaces: --workdir=VALUE"),
        (("--config=", "configs/cpu_debug.py"), r"--config= names no file; write it without spaces"),
        ((CPU_DEBUG, "--config.loss.policy", "=", "im"), r"write it without spaces: --config\.loss\.policy=VALUE"),
        ((CPU_DEBUG, "--config.loss.policy"), r"--config\.loss\.policy has no value; write --config\.loss\.policy=VALUE"),
        ((CPU_DEBUG, "--config.train.steps=none"), r"--config\.train\.steps=none must be a whole number"),
        ((CPU_DEBUG, "--config.data.rewrites.families=nonsense"), r"families='nonsense': 'nonsense' is not one of free"),
    ],
)  # fmt: skip
def test_more_mistakes_are_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(*words)


def test_a_field_is_unset_by_none_and_the_last_flag_wins() -> None:
    assert parse(CPU_DEBUG).optimizer.clip_norm == 1.0
    assert parse(CPU_DEBUG, "--config.optimizer.clip_norm=none").optimizer.clip_norm is None
    both = ("--config.optimizer.clip_norm=none", "--config.optimizer.clip_norm=2")
    assert parse(CPU_DEBUG, *both).optimizer.clip_norm == 2.0
    assert parse(CPU_DEBUG, *reversed(both)).optimizer.clip_norm is None
    assert parse(CPU_DEBUG, "--config.model.remat=none").model.remat == "none", "where it is a choice"


def test_booleans_can_stand_alone() -> None:
    assert parse(CPU_DEBUG, "--config.log.tensorboard", "--config.seed=3").log.tensorboard is True
    assert parse(CPU_DEBUG, "--noconfig.log.tensorboard").log.tensorboard is False
