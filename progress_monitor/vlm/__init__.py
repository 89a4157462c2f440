"""The model: loading and the streaming decoder.

Nothing here imports torch at import time but the modules that need it to define their classes;
``config``, ``checkpoint`` and ``images`` are safe to import in a node.
"""
