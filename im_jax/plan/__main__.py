"""`python -m im_jax.plan`."""

from im_jax.plan import run

if __name__ == "__main__":
    run()
