"""What carries loss: policies, weightings and the cross-entropy."""
