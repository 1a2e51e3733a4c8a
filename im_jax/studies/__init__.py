"""What is studied with the trainer, a room for each study; `registry` finds the one of a run."""
