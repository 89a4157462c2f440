"""Errors of the model room."""


class VLMError(RuntimeError):
    """The model cannot be loaded or run. The message says what is wrong and what to do."""


class RequestRefused(VLMError):
    """This request cannot be answered; the model lives. The message says why."""
