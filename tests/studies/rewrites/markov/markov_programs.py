"""Markov programs whose results are known, and texts, for tests."""
# ruff: noqa: RUF001  (the programs are in their authors' Greek letters)

import random

APPEND_REVERSED = """
# w -> w, then w reversed
αa → aαβa
αb → bαβb
βaa → aβa
βab → bβa
βba → aβb
βbb → bβb
αβa → aα
αβb → bα
α → ·
→ α
"""
BINARY_TO_UNARY = """
|0→0||
1→0|
0→
"""
BUSY_BEAVER = """
A0->1B
0A1->C01
1A1->C11
0B0->A01
1B0->A11
B1->1B
0C0->B01
1C0->B11
0C1->H01
1C1->H11
"""
UNARY_PRODUCT = """
|b -> ba|
ab -> ba
b  ->
*| -> b*
*  -> c
|c -> c
ac -> c|
c  -> .
"""


def random_text(rng: random.Random, alphabet: str, longest: int) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(0, longest)))
