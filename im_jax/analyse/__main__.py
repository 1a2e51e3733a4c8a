"""`python -m im_jax.analyse`."""

from im_jax.analyse import run

if __name__ == "__main__":
    run()
