"""Models opened to be asked: from a run, a Hugging Face folder or a llama2.c file, as one `Model`.

model = open_run("runs/im")
model.answer([model.prompt([Message("user", "What is 3 + 4?")])], max_new_tokens=50)[0].text
"""

import contextlib
import copy
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np

from im_jax import validation
from im_jax.config import GROW, Config, ModelConfig, flatten, records
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.data.tokenizers.added import read_object
from im_jax.errors import CheckpointError, ConfigError
from im_jax.mesh import make_mesh
from im_jax.models import decoder
from im_jax.models.adapters.lora import is_adapter
from im_jax.models.adapters.peft.reading import open_adapter
from im_jax.models.adapters.resolution import resolve_adapter
from im_jax.models.checkpoints import grow_vocabulary, open_params, resolve_model, stored_dtype
from im_jax.models.export.folder import GENERATION, Exported
from im_jax.models.files.layout import LayersOnDisk, by_path
from im_jax.models.files.reading import reader_on_host
from im_jax.models.loaded import Model
from im_jax.models.quantised.maps import is_quantised
from im_jax.models.sharding import ShardingRules
from im_jax.saved_config import config_of_model, config_of_run
from im_jax.stores import readable
from im_jax.stores.places import place
from im_jax.training.digest import Fingerprint, digest, digest_of, fingerprints
from im_jax.training.first_weights import first_weights
from im_jax.training.partition import merge, split
from im_jax.training.resume import check_same_base
from im_jax.training.saved import SavedModel, saved_steps
from im_jax.training.state import with_shardings
from im_jax.training.trainable import trained_parts
from im_jax.training.verified import fingerprint_on_host

_MUST_FIT = (
    *("model.vocab_size", "tokenizer.path", "data.template", "train.trainable"),
    *(name for name in records(Config) if name.startswith("model.lora.") and name != "model.lora.path"),
)
"""Fields that a model must be asked with as it was trained, beside those of its architecture."""

_TYPES = ("model.param_dtype", "model.base_dtype")
"""Fields that decide in which types a model is kept, and so its digest."""


def open_run(
    workdir: str | pathlib.Path, config: Config | None = None, *, chat: bool = True, step: int | None = None
) -> Model:
    """The model of a run's checkpoint, on the devices that are here, whatever it was trained on.

    Args:
        workdir: of the run.
        config: how it is asked: types, devices, template; None: as it was trained. It must be of the
            run's architecture, tokenizer and template.
        chat: whether it is asked in its template; else it only continues text.
        step: of the checkpoint; None: the newest.

    Raises:
        UserError: there is no whole checkpoint, or it is of another model.
    """
    _checkpoints(workdir)
    config = config_of_run(workdir) if config is None else copy.deepcopy(config)
    model, saved = _of_run(workdir, config, chat=chat, step=step)
    is_trained = trained_parts(model.config, config.train.trainable)
    shardings = decoder.param_shardings(model.config, model.mesh, model.rules)
    abstract = with_shardings(decoder.abstract_params(model.config), shardings)
    with jax.set_mesh(model.mesh):
        trained = saved.params(split(abstract, is_trained)[0])
        rest = first_weights(model.config, split(shardings, is_trained)[1], seed=config.seed)
    if rest and _same_types(saved, config):
        check_same_base(saved.data(), digest(rest), config.model.path)
    return model.with_params(merge(trained, rest))


def open_model(path_or_config: str | Config, *, adapter: str = "", chat: bool = True) -> Model:
    """A pretrained model: a Hugging Face folder, with the tokenizer and the template in it, or what
    `model.path`, `model.lora.path`, `tokenizer.path` and `data.template` of a configuration name.

    Args:
        path_or_config: the folder, or the configuration.
        adapter: beside a folder, that of a PEFT adapter of it, whose template comes first.
        chat: whether it is asked in its template; else it only continues text.

    Raises:
        UserError: it cannot be read.
    """
    if isinstance(path_or_config, str):
        config = config_of_model(path_or_config, adapter)
    else:
        config = copy.deepcopy(path_or_config)
    if not config.model.path:
        raise ConfigError("no model to ask; set --workdir=DIR of a run, --model=DIR, or --config.model.path")
    model = _without_params(config, chat=chat)
    shardings = decoder.param_shardings(model.config, model.mesh, model.rules)
    with jax.set_mesh(model.mesh):
        return model.with_params(first_weights(model.config, shardings, seed=config.seed))


def steps_of_run(workdir: str | pathlib.Path) -> list[int]:
    """Steps of the checkpoints that a run has kept, in order.

    Raises:
        UserError: it has none.
    """
    steps = saved_steps(_checkpoints(workdir))
    if not steps:
        raise CheckpointError(f"there is no complete checkpoint in {workdir}/checkpoints; train first")
    return steps


def open_start(workdir: str | pathlib.Path) -> Model:
    """The model that a run started from: what its model.path held, or the weights that its seed draws.

    Raises:
        UserError: the directory is not that of a run, or what was at model.path is not there any more.
    """
    config = config_of_run(workdir)
    saved = SavedModel(_checkpoints(workdir)).config()
    rows, path = config.model.vocab_size, saved.get("model.path", "")
    if path:
        config.model.path = path
        config.model.vocab_size = GROW if isinstance(rows, int) else rows
    model = _without_params(config, chat=True, rows=rows if isinstance(rows, int) else None)
    shardings = decoder.param_shardings(model.config, model.mesh, model.rules)
    with jax.set_mesh(model.mesh):
        return model.with_params(first_weights(model.config, shardings, seed=config.seed))


@contextlib.contextmanager
def run_to_export(workdir: str | pathlib.Path, config: Config) -> Iterator[Exported]:
    """The model of a run's newest checkpoint, whose parameters are read one by one while it is open.

    Raises as `open_run`, and where what the run only read are other weights by now.
    """
    config = copy.deepcopy(config)
    model, saved = _of_run(workdir, config, chat=True)
    is_trained = trained_parts(model.config, config.train.trainable)

    def drawn(path: str) -> np.ndarray:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        places = jax.tree.map(lambda _: here, decoder.abstract_params(model.config))
        wanted, _ = split(places, path.__eq__)
        return np.asarray(by_path(first_weights(model.config, wanted, seed=config.seed))[path])

    with contextlib.ExitStack() as stack:
        at_first: Callable[[str], np.ndarray | LayersOnDisk] = drawn
        if model.config.path:
            read = stack.enter_context(open_params(model.config))
            at_first = reader_on_host(model.config, read)

        def parameter(path: str) -> np.ndarray | LayersOnDisk:
            return saved.param(path) if is_trained(path) else at_first(path)

        # On the process that writes: the others wait for it, and read nothing.
        if jax.process_index() == 0 and _same_types(saved, config):
            _, rest = split(decoder.abstract_params(model.config), is_trained)
            check_same_base(saved.data(), _digest_of_base(model.config, rest, at_first), config.model.path)
        yield Exported(model, parameter, model.config.param_dtype, config.tokenizer.path)


@contextlib.contextmanager
def model_to_export(config: Config, *, chat: bool) -> Iterator[Exported]:
    """A pretrained model, with its adapter if it has one, whose parameters are read one by one while it is
    open.

    Args:
        config: names it, its tokenizer, and its template.
        chat: whether it has a template.

    Raises:
        UserError: it cannot be read.
    """
    config = copy.deepcopy(config)
    path = config.model.path
    stored = stored_dtype(path)
    config.model.param_dtype = stored if stored == "bfloat16" else "float32"  # exact for all of them
    model = _without_params(config, chat=chat)
    generation = read_object(readable(path) / GENERATION)
    with contextlib.ExitStack() as stack:
        base, folder = stack.enter_context(open_params(model.config)), model.config.lora.path
        adapter = stack.enter_context(open_adapter(folder, model.config)) if folder else None

        def parameter(path: str) -> np.ndarray | LayersOnDisk:
            return adapter.parameter(path) if adapter and is_adapter(path) else base.on_host(path)

        yield Exported(model, parameter, stored, config.tokenizer.path, generation)


def _same_types(saved: SavedModel, config: Config) -> bool:
    before, now = saved.config(), flatten(config)
    return all(before.get(name) == now[name] for name in _TYPES)


def _digest_of_base(
    model: ModelConfig, rest: decoder.Params, read: Callable[[str], np.ndarray | LayersOnDisk]
) -> str:
    """As `digest` of what a run only reads; a map in NF4 is made whole for that, the others layer by layer.

    Args:
        model: with its path.
        rest: shapes of what is only read.
        read: gives those of its parameters that are kept as they are, by their paths.
    """
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def fingerprint(path: str) -> Fingerprint:
        if not is_quantised(path):
            return fingerprint_on_host(read(path), model.num_layers)
        wanted, _ = split(jax.tree.map(lambda _: here, rest), path.__eq__)
        return fingerprints(first_weights(model, wanted, seed=0))[path]

    return digest_of({path: fingerprint(path) for path in by_path(rest)}) if rest else ""


def _of_run(
    workdir: str | pathlib.Path, config: Config, *, chat: bool, step: int | None = None
) -> tuple[Model, SavedModel]:
    """A run's model without its parameters, and its checkpoint of a step (None: the newest), which fits."""
    directory = _checkpoints(workdir)
    rows = config.model.vocab_size
    if config.model.path and isinstance(rows, int):  # which may be more than the model had that it adapts
        config.model.vocab_size = GROW
        model = _without_params(config, chat=chat, rows=rows)
    else:
        model = _without_params(config, chat=chat)
    saved = SavedModel(directory, step)
    _check_fits(saved.config(), config, workdir)
    return model, saved


def _checkpoints(workdir: str | pathlib.Path) -> pathlib.Path:
    directory = place(workdir) / "checkpoints"
    if not directory.is_dir():
        raise ConfigError(f"--workdir={workdir} has no checkpoints; give the directory of a run")
    return directory


def _without_params(config: Config, *, chat: bool, rows: int | None = None) -> Model:
    """All of a model but its parameters; fills in what the checkpoint and the tokenizer decide.

    Where the vocabulary is to grow, it grows to `rows` if these suffice.
    """
    config.model = resolve_adapter(resolve_model(config.model))
    validation.check_base(config.model)
    config.tokenizer.path = tokenizer_path(config)
    tokenizer = make_tokenizer(config.tokenizer.path)
    template = make_template(config.data.template, tokenizer, config.data.date) if chat else None
    mesh, rules = make_mesh(config.mesh), ShardingRules()
    parts = rules.parts_of("vocab", mesh)
    config.model = grow_vocabulary(config.model, tokenizer.vocab_size, parts, rows)
    validation.resolve_vocabulary(config, tokenizer.vocab_size)
    validation.choose_rope(config)
    return Model({}, config.model, tokenizer, template, mesh, rules)


def _check_fits(saved: dict[str, object], config: Config, workdir: str | pathlib.Path) -> None:
    """Stop if the run was trained with another model, tokenizer or template than it is asked with."""
    known = records(Config)
    for name, value in flatten(config).items():
        must_fit = name in _MUST_FIT or known[name].is_architecture
        if must_fit and name in saved and saved[name] != value:
            raise ConfigError(
                f"the run in {workdir} was trained with {name}={saved[name]}, not {value}; "
                f"set --config.{name}={saved[name]}"
            )
