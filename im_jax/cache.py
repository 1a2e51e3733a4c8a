"""List the encoded data sets that are kept for later starts, or remove some.

    python -m im_jax.cache [--folder=FOLDER] [--format=text|json]
    python -m im_jax.cache [--folder=FOLDER] --remove=all|NAME,...|unused:DAYS

FOLDER is what data.cache says, by default im_jax in the user's cache directory. NAME is the beginning of a
set's name; unused:30 means all that no run has opened for 30 days. A set that is asked for again is encoded
again. Remove none that a run on another machine is reading.
"""

from collections.abc import Sequence

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import print_json, print_text
from im_jax.errors import ConfigError


def main(argv: Sequence[str]) -> None:
    """Do what a command line (program name first) asks for."""
    values = read_flags(argv, define_flags)
    from im_jax.data.store import listing  # only now: flags have been read, and NumPy is slow
    from im_jax.data.store.cache import cache_folder

    folder: str = values["folder"].value or ""
    cache = cache_folder(folder)
    if cache is None:
        raise ConfigError("there is no folder of encoded sets; name one with --folder=FOLDER")
    which: str | None = values["remove"].value
    if which is not None:
        print_text(listing.remove(cache, which))
    elif values["format"].value == "json":
        sets = [each.as_dict() for each in listing.cached_sets(cache)]
        print_json({"folder": str(cache), "sets": sets, "bytes": listing.beside(cache)})
    else:
        print_text(listing.text_of(cache, listing.cached_sets(cache)))


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("folder", "", "Where the sets are, as data.cache.", flag_values=values)
    flags.DEFINE_enum("format", "text", ["text", "json"], "How to show them.", flag_values=values)
    flags.DEFINE_string("remove", None, "The sets to remove.", flag_values=values)


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
