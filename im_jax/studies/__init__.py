"""What is studied with the trainer; each study brings a source of examples and an evaluation."""
