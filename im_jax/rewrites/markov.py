"""The earlier name of `python -m im_jax.markov`, which still works."""

from im_jax.markov import run

if __name__ == "__main__":
    run()
