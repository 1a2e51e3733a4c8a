"""How likely a model finds continuations of contexts, where what they share is computed once.

    likelihoods = Likelihoods(open_model("MODEL"))
    likelihoods([([1, 415, 5565], [349, 5465])])     # [Score(logprob=-7.31, is_greedy=False)]

`texts.py` finds what texts share, `cuts.py` decides what is computed once for many rows and what in a row,
`trees.py` and `rows.py` lay that out, `programs.py` is what devices run, `likelihoods.py` puts it together.
"""

from im_jax.evaluation.likelihood.likelihoods import Likelihoods, Score

__all__ = ["Likelihoods", "Score"]
