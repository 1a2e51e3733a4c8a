"""Run by test_huggingface on eight devices: parameters arrive sharded, and no more of the file is read."""

import dataclasses
import sys

import jax
import numpy as np
from jax.sharding import AxisType, SingleDeviceSharding

from im_jax.config import ModelConfig
from im_jax.models import counts, decoder, huggingface
from im_jax.models.checkpoints import grow_vocabulary, load_pretrained, resolve_model
from im_jax.models.files.reading import read_params
from im_jax.models.files.tensors import Index, Tensor
from im_jax.models.sharding import ShardingRules


def main() -> None:
    config = resolve_model(ModelConfig(path=sys.argv[1]))
    assert isinstance(config.vocab_size, int)
    device = SingleDeviceSharding(jax.devices()[0])
    whole = load_pretrained(config, jax.tree.map(lambda _: device, decoder.abstract_params(config)))

    # With the head size split too, every way of cutting a tensor is used.
    rules = ShardingRules(heads=None, kv_heads=None, head_dim="tensor")
    for table in (ShardingRules(), rules):
        mesh = jax.make_mesh((2, 2, 2), ("replica", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
        shardings = decoder.param_shardings(config, mesh, table)
        params = load_pretrained(config, shardings)
        jax.tree.map(np.testing.assert_array_equal, params, whole)
        assert jax.tree.all(jax.tree.map(lambda x, sharding: x.sharding == sharding, params, shardings))

    # New rows are the same wherever they lie.
    grown = grow_vocabulary(dataclasses.replace(config, vocab_size="grow"), config.vocab_size + 9, 2)
    alone = load_pretrained(grown, jax.tree.map(lambda _: device, decoder.abstract_params(grown)))
    shared = load_pretrained(grown, decoder.param_shardings(grown, mesh))
    jax.tree.map(np.testing.assert_array_equal, shared, alone)
    assert shared["embedding"].shape[0] == config.vocab_size + 9 + (config.vocab_size + 9) % 2

    # Copies share one reading: eight devices read the file once, not eight times.
    amounts: list[int] = []

    def counted(tensor: Tensor) -> Tensor:
        def read(index: Index) -> np.ndarray:
            part = tensor.read(index)
            amounts.append(part.size)
            return part

        return tensor._replace(read=read)

    with huggingface.open_checkpoint(sys.argv[1]) as opened:
        tensors = {name: counted(tensor) for name, tensor in opened.tensors.items()}
        read_params(opened.layout, config, decoder.param_shardings(config, mesh), tensors)
    assert sum(amounts) == counts.num_params(config), (sum(amounts), counts.num_params(config))
    print(f"same on {jax.device_count()} devices")


if __name__ == "__main__":
    main()
