"""The losses on eight devices."""

from tests.subprocess_devices import run_on_devices


def test_sharded_losses_equal_those_of_one_device():
    """Rows and vocabulary split, with trip counts that differ by device; see the check for the cases."""
    output = run_on_devices("tests.losses.check_sharded_loss")
    assert output.count("equal") == 7 and "split" in output and "at once" in output, output
