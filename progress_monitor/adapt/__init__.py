"""A recorded demonstration in, a monitor that knows the task out."""
