"""Pictures of more than 8 bits a channel, to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEWEST_BITS = 8


class BitDepth:
    """How many bits a camera really uses, learned from its pictures.

    Cameras of 10 or 12 bits put their values into the low bits of 16, so the container says
    nothing. The depth only ever grows: brightness does not flicker with what is in the picture.
    """

    def __init__(self) -> None:
        self.bits = _FEWEST_BITS

    def to_8_bits(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``image``, uint8 or uint16, as uint8 with the camera's full range as 0..255."""
        if image.dtype == np.uint8:
            return np.asarray(image, np.uint8)
        self.bits = max(self.bits, int(image.max()).bit_length())
        return np.asarray(image >> (self.bits - _FEWEST_BITS), np.uint8)
