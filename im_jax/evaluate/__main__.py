"""`python -m im_jax.evaluate`."""

from im_jax.evaluate import run

if __name__ == "__main__":
    run()
