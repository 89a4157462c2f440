"""Live task progress, stall and success monitoring of robots by a vision-language model."""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)
__version__ = '0.1.0'
