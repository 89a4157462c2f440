"""The lab: the simulated cell, the demo, the benchmarks and the training. No robot needs it."""
