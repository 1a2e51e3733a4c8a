"""Where the program that is being traced will run.

That is the mesh that `jax.set_mesh` set, also one of devices that are only described (to compile ahead of
time for a TPU on a machine without one), else JAX's default devices.
"""

import jax


def platform() -> str:
    """`cpu`, `gpu` or `tpu`."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else str(device.platform)


def device_kind() -> str:
    """The vendor's name of the devices, such as `TPU v5 lite`."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.devices()[0].device_kind if device is None else str(device.device_kind)
