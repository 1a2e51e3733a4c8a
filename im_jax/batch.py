"""The one array bundle that flows from the data to the loss."""

from typing import Any, NamedTuple

import jaxtyping as jt


class Batch(NamedTuple):
    """Rows of one or more examples ("segments") each, padded to length L.

    Arrays are NumPy on the host and JAX on the devices; as a NamedTuple it is a pytree.

    A row that packs `A B </s>` and `C </s>` into L = 7:

        tokens    [[A, B, </s>, C, </s>, 0, 0]]
        segments  [[1, 1, 1,    2, 2,    0, 0]]
        positions [[0, 1, 2,    0, 1,    0, 0]]

    The target of a token is the next token of the *same* segment, so here `</s>` (segment 1) has no
    target and `C` is nobody's target: attention, positions and loss never cross examples.
    """

    tokens: jt.Int32[Any, "B L"]
    """Token ids; 0 where `segments` is 0. Padding is known by its segment, never by its id."""
    classes: jt.UInt8[Any, "B L"]
    """`TokenClass` of each token; `PAD` where `segments` is 0."""
    segments: jt.Int32[Any, "B L"]
    """1, 2, ... for the examples of a row in order; 0 for padding."""
    positions: jt.Int32[Any, "B L"]
    """Position of each token within its own example; 0 for padding."""
    message_weights: jt.Float32[Any, "B L"]
    """Weight that the data gives to the token's message; 1 unless the data says otherwise."""
