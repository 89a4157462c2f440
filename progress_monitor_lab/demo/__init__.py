"""The whole system at work: the simulated cell, the monitor and the supervisor, over DDS."""
