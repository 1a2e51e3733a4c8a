"""Makes meshes of TPUs that are not here, of one slice and of two; needs libtpu, in its own process."""

from jax.experimental import topologies

from im_jax.config import MeshConfig
from im_jax.mesh import make_mesh
from im_jax.training.utilisation import peak_flops


def main() -> None:
    two = topologies.get_topology_desc("v5e:2x2", "tpu", num_slices=2).devices
    mesh = make_mesh(MeshConfig(replica=2), two)
    assert [{device.slice_index for device in copy.flat} for copy in mesh.devices] == [{0}, {1}]
    assert peak_flops("bfloat16", two) == 8 * 197e12
    chips = topologies.get_topology_desc("tpu7x:2x2x1", "tpu").devices
    assert make_mesh(MeshConfig(), chips).shape["fsdp"] == 8
    assert peak_flops("bfloat16", chips) == 4 * 2307e12  # two devices a chip
    print("meshes of described devices")


if __name__ == "__main__":
    main()
