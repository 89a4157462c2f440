"""What to do about a stall: a policy, a record of what was done, and a tree that carries it out."""

from progress_monitor.recovery.recovery import Kind

__all__ = ['Kind']
