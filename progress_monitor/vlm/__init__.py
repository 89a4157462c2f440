"""The model: loading, the streaming decoder, and the process that runs it.

Nothing here imports torch at import time but the modules that need it to define their classes;
``config``, ``inline`` and ``worker`` are safe to import in a node.
"""
