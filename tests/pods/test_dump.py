"""What XLA writes about memory, as it writes it."""

import pathlib

from im_jax.pods.dump import Buffer, TooLarge, hbm_bytes, largest_buffers, module, too_large

REPORT = """\
Memory Space: default (color=0)
Total bytes: 3638704640 (3.39GiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
    1.00GiB( 26%);    1.00GiB;      4374528;                6; f32[64,2,2048,64]
Memory Space: vmem (color=1)
Total bytes: 116457472 (111.06MiB)
"""
LIVE = """\
HloLiveRange (max 2213):
  InstructionSequence:
    0:param.108
  Live ranges at 487 (peak):
    bitcast_dynamic-update-slice_fusion.23{}: 1073741824 bytes (cumulative: 1073741824 bytes)
  Stack trace breakdown for peak usage: 2 728 387 307 bytes
    main.107_spmd (100.0%, total: 2 728 387 307 bytes, current: 0 bytes, remaining: 2 728 387 307 bytes)
      ├── jit(train_step)/jvp()/while (52.0%, total: 1 418 789 173 bytes, current: 0 bytes, remaining: 2 728 387 307 bytes)
      │   └── wide.region_2.17_spmd.sunk.clone (52.0%, total: 1 418 789 173 bytes, current: 0 bytes, remaining: 2 728 387 307 bytes)
      │       ├── jit(train_step)/jvp()/while/body/mlp/dot_general (39.4%, total: 1 073 741 824 bytes, current: 1 073 741 824 bytes, remaining: 1 654 645 483 bytes)
      │       ├── jit(train_step)/jvp()/while/body/mlp/dot_general{0} (3.3%, total: 90 177 536 bytes, current: 90 177 536 bytes, remaining: 1 564 467 947 bytes)
      │       ├── copy-start.39{0} (1.2%, total: 33 554 432 bytes, current: 33 554 432 bytes, remaining: 1 351 606 898 bytes)
      │       └── wide.param.2 (0.0%, total: 176 bytes, current: 176 bytes, remaining: 1 309 598 146 bytes)
      ├── state (15.5%, total: 422 199 296 bytes, current: 0 bytes, remaining: 1 309 598 134 bytes)
      │   └── params (15.5%, total: 422 199 296 bytes, current: 0 bytes, remaining: 1 309 598 134 bytes)
      │       ├── layers (14.9%, total: 405 798 912 bytes, current: 0 bytes, remaining: 1 309 598 134 bytes)
      │       │   └── down (3.3%, total: 90 177 536 bytes, current: 90 177 536 bytes, remaining: 1 219 420 598 bytes)
      │       └── embedding (0.3%, total: 8 192 000 bytes, current: 8 192 000 bytes, remaining: 895 607 222 bytes)
      └── constant.1155 (0.0%, total: 4 bytes, current: 4 bytes, remaining: 84 bytes)
"""
MESSAGE = (
    "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (23.69G) exceeds available HBM (15.75G). HLO module: jit_train_step."
)


def test_memory_is_that_of_the_device_alone() -> None:
    assert hbm_bytes(REPORT) == 3638704640
    assert hbm_bytes("Memory Space: vmem (color=1)\nTotal bytes: 7 (7B)\n") is None


def test_buffers_have_the_names_of_jax_and_add_up() -> None:
    assert largest_buffers(LIVE, 4) == [
        Buffer("jit(train_step)/jvp()/while/body/mlp/dot_general", 1073741824 + 90177536),
        Buffer("state.params.layers.down", 90177536),
        # What the compiler made: the part of the program around it, whose parts add up.
        Buffer("jit(train_step)/jvp()/while", 33554432 + 176),
        Buffer("state.params.embedding", 8192000),
    ]
    assert largest_buffers("HloLiveRange (max 3):\n") == []


def test_the_compilers_refusal_is_read_to_the_digits_it_prints() -> None:
    assert too_large(MESSAGE) == TooLarge(round(23.69 * 2**30), round(15.75 * 2**30))
    assert too_large("INTERNAL: Mosaic failed to compile TPU kernel") is None


def test_the_file_of_a_program_is_found_beside_others(tmp_path: pathlib.Path) -> None:
    assert module(tmp_path, "train_step", "live-range.txt") is None
    for name in (
        "module_0000.jit_other.cl_1.x-live-range.txt",
        "module_0001.jit_train_step.cl_1.x-live-range.txt",
    ):
        (tmp_path / name).touch()
    found = module(tmp_path, "train_step", "live-range.txt")
    assert found is not None and found.name.startswith("module_0001")
