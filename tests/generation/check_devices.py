"""Run by test_generator on eight devices: answers on meshes and on one device."""

import jax

from im_jax.config import MeshConfig
from im_jax.generation.generator import Generator
from tests.generation.tiny import requests, tiny_model


def check(mesh: MeshConfig, params: dict[str, object]) -> None:
    asked = requests(11, longest=40, **params)
    one = Generator(tiny_model(devices=jax.devices()[:1]), slots=8)
    several = Generator(tiny_model(mesh=mesh), slots=8)
    expected = {each.id: each for each in one(asked)}
    for answer in several(asked):
        assert answer.token_ids == expected[answer.id].token_ids, answer.id
        assert abs(answer.cumulative_logprob - expected[answer.id].cumulative_logprob) < 1e-3


if __name__ == "__main__":
    drawn = {"temperature": 1.0, "top_k": 40, "top_p": 0.95, "frequency_penalty": 0.3}
    check(MeshConfig(replica=2, fsdp=2, tensor=2), drawn)
    check(MeshConfig(fsdp=8), {})
    print(f"same on {jax.device_count()} devices")
