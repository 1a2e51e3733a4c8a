"""`eval`: held-out loss by token class, and benchmark tasks during training."""

from dataclasses import dataclass

from im_jax.config.record import Decides, at_least, setting


@dataclass
class EvalConfig:
    """Held-out loss by token class, and benchmark tasks."""

    path: str = setting(
        "", "Held-out examples, named as `data.path` names files; empty: hold some out of the source."
    )
    num_examples: int = setting(
        200, "Examples held out of the source (or read from `path`); 0: no evaluation.", bounds=at_least(0)
    )
    every: int = setting(
        0,
        "Evaluate every this many steps, and at the end; 0: only at the end.",
        bounds=at_least(0),
        decides=Decides.PLACE,
    )
    batch_size: int | None = setting(
        None, "Rows at a time; none: one micro-batch of training.", bounds=at_least(1), decides=Decides.SPEED
    )
    tasks: str = setting(
        "",
        "Benchmark tasks, groups or `im_paper`, joined by commas, without a chat template; empty: none.",
        decides=Decides.PLACE,
        see="evaluation.md",
    )
    tasks_every: int = setting(
        0,
        "Run the tasks every this many steps, and at the end; 0: only at the end.",
        bounds=at_least(0),
        decides=Decides.PLACE,
    )
    tasks_limit: int | None = setting(
        None,
        "Items of each task, the first ones; none: all.",
        bounds=at_least(1),
        decides=Decides.PLACE,
    )
    local_data: str = setting(
        "", "Folder of local data sets for the tasks; empty: those of the hub.", decides=Decides.PLACE
    )
