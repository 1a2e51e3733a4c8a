"""Say what a run would need on chips that are not here, what it would cost, and what would fit.

    python -m im_jax.plan --config=FILE --topology=v5e:8x8[,v5p:2x2x4,...]
        [--num_slices=N] [--model=llama2_7b] [--format=text|json] [--nocode] [--notrials]
        [--config.FIELD=VALUE ...]
    python -m im_jax.plan --config=FILE --search [--topology=v5e,v5p:2x2x4]
    python -m im_jax.plan ledger WORKDIR [--format=text|json]

The real training step is compiled: for TPUs by their own compiler (the extra tpu; no TPU is needed); GPUs
are judged by shapes alone. Neither data nor weights are read. Times and prices are bounds, not forecasts. The
exit code is 0 if the run fits (with --search: anywhere), 1 if it does not, and 2 for a mistake.

ledger says of a run what its time went to, and has --help of its own: python -m im_jax.plan ledger --help.
"""

from types import MappingProxyType

from im_jax.command_line import Verbs

run = Verbs(
    MappingProxyType({"ledger": "im_jax.plan.ledger"}),
    "im_jax.plan.slices",
    "for a plan with --config=FILE --topology=v5e:8x8",
)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""
