"""Errors of the model room."""


class VLMError(RuntimeError):
    """The model cannot be loaded or run. The message says what is wrong and what to do."""


class RequestRefused(VLMError):
    """This request cannot be answered, and the model is as usable as before.

    The message names the bound and the figure that breaks it.
    """
