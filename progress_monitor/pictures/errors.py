"""What is said of a picture that cannot be used."""

from __future__ import annotations

# A camera of 48 megapixels passes, and what decodes to some 200 MB.
DEFAULT_MAX_IMAGE_PIXELS = 64_000_000
_LONGEST = 60


class ImageError(ValueError):
    """The data holds no colour picture that can be read. The text says why."""


def quoted(text: str) -> str:
    """Return a foreign text in quotes, cut and with its control characters escaped."""
    return ascii(text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...')


def check_size(width: int, height: int, limit: int, kind: str) -> None:
    """Refuse a picture that is empty or larger than ``limit`` pixels.

    :raises ImageError: naming ``kind``, the size and the bound.
    """
    if width < 1 or height < 1:
        raise ImageError(f'the message is damaged: its size is {width}x{height}')
    if width * height > limit:
        raise ImageError(
            f'{kind} of {width}x{height} pixels is above max_image_pixels ({limit}); '
            'have the camera send smaller pictures or raise that parameter'
        )
