"""What devices exchange, read from programs as XLA writes them."""

from im_jax.pods.collectives import BETWEEN_SLICES, Collective, collective_bytes, collectives

PROGRAM = """\
HloModule jit_train_step, is_scheduled=true

%condition (arg: (s32[], f32[8,4])) -> pred[] {
  %n = s32[] constant(6)
  %i = s32[] get-tuple-element(%arg), index=0
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%data_condition (arg: (s32[], f32[8,4])) -> pred[] {
  %i.1 = s32[] get-tuple-element(%arg), index=0
  %n.1 = s32[] get-tuple-element(%arg), index=1
  ROOT %less.1 = pred[] compare(%i.1, %n.1), direction=LT
}

%body (arg: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %part = bf16[2,4]{1,0} parameter(1)
  %all-gather.1 = bf16[8,4]{1,0:T(8,128)} all-gather(%part), channel_id=1, replica_groups=mesh['replica'=1,'fsdp'=4,'tensor'=2] {'fsdp'}, dimensions={0}
}

%data_body (arg: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %both = (f32[3]{0}, f32[100]{0}) fusion(%arg)
  %all-reduce.2 = f32[3]{0} all-reduce(%both#0), channel_id=2, replica_groups={{0,2,4,6},{1,3,5,7}}, to_apply=%add
}

%left (arg.2: f32[8]) -> f32[8] {
  %all-reduce.3 = f32[8]{0} all-reduce(%arg.2), channel_id=3, replica_groups=[4,2]<=[8], to_apply=%add
}

%right (arg.3: f32[8]) -> f32[8] {
  %x = f32[64]{0} parameter(0)
  %reduce-scatter.4 = f32[16]{0} reduce-scatter(%x), channel_id=4, replica_groups=[2,4]<=[4,2]T(1,0), to_apply=%add
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %while.1 = (s32[], f32[8,4]) while(%t), condition=%condition, body=%body
  %while.2 = (s32[], f32[8,4]) while(%t), condition=%data_condition, body=%data_body, metadata={op_name="jit(train_step)/at_most_5_trips/while"}
  %while.3 = (s32[], f32[8,4]) while(%t), condition=%data_condition, body=%data_body
  %if = f32[8]{0} conditional(%which), branch_computations={%left, %right}
  %collective-permute.5 = f32[8,4]{1,0} collective-permute(%p), channel_id=5, source_target_pairs={{0,2},{2,4},{4,6},{6,0}}
}
"""
MESH = {"replica": 1, "fsdp": 4, "tensor": 2}


def test_kinds_bytes_times_and_axes() -> None:
    assert collectives(PROGRAM, MESH) == [
        Collective("all-gather", ("fsdp",), 4, bytes=6 * 8 * 4 * 2, times=6),
        Collective("reduce-scatter", ("fsdp",), 4, bytes=64 * 4, times=1),  # the dearer branch
        Collective("collective-permute", ("fsdp",), 4, bytes=8 * 4 * 4, times=1),
        # Of a part of a fusion's results; five trips by its name, and one of a loop that says nothing.
        Collective("all-reduce", ("fsdp",), 4, bytes=(5 + 1) * 3 * 4, times=6),
    ]


def test_without_a_mesh_numbered_devices_have_no_axes() -> None:
    axes = {each.kind: each.axes for each in collectives(PROGRAM)}
    assert axes["all-gather"] == ("fsdp",) and axes["all-reduce"] == ()


def test_neighbours_by_number_lie_along_the_last_axis() -> None:
    line = "  %a = f32[8]{0} all-reduce(%p), channel_id=3, replica_groups=[4,2]<=[8], to_apply=%add"
    program = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n  %p = f32[8]{{0}} parameter(0)\n{line}\n}}\n"
    assert collectives(program, MESH) == [Collective("all-reduce", ("tensor",), 2, bytes=32, times=1)]


def test_axes_of_the_compilers_own_are_told_by_the_devices_along_them() -> None:
    def along(axes: str) -> tuple[str, ...]:
        line = f"%a = f32[8]{{0}} all-reduce(%p), channel_id=3, replica_groups=mesh['axis_0'=4,'axis_1'=2] {{{axes}}}"
        program = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n  %p = f32[8]{{0}} parameter(0)\n  {line}\n}}\n"
        (found,) = collectives(program, MESH)
        return found.axes

    assert along("'axis_0'") == ("fsdp",) and along("'axis_1'") == ("tensor",)
    assert along("'axis_1','axis_0'") == ("fsdp", "tensor")


def test_slices_exchange_over_the_network() -> None:
    attributes = '_xla_megascale_target="{1,2}x{0:63}",_xla_megascale_transfer_type="ALL_REDUCE"'
    shape = "(bf16[688,8,128]{2,1,0:T(8,128)(2,1)}, u32[]{:S(2)}, token[])"
    program = f"""\
ENTRY %main (p: f32[8]) -> f32[8] {{
  %send.1 = {shape} send(%x, %after), channel_id=12, is_host_transfer=true, frontend_attributes={{{attributes}}}
  %recv.1 = {shape} recv(%after), channel_id=11, is_host_transfer=true, frontend_attributes={{{attributes}}}
  %recv-done.1 = (bf16[688,8,128]{{2,1,0}}, token[]) recv-done(%recv.1), channel_id=11
}}
"""
    expected = Collective("all-reduce", BETWEEN_SLICES, 2, bytes=688 * 8 * 128 * 2, times=1)
    assert collectives(program, MESH) == [expected]


def test_bytes_by_kind() -> None:
    assert collective_bytes(PROGRAM)["all-gather"] == 6 * 64
