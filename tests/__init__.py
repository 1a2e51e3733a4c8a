"""The run-time type checker of the tests: beartype, with an int welcome where a float is asked for (PEP 484)."""

import beartype

check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
