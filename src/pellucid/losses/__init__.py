"""Losses that two tasks or more can use; each takes logits and targets and computes in float32 or wider."""
