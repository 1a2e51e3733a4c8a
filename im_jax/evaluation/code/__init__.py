"""Programs that models write: run apart from everything else, and the share of problems that they solve."""
