"""Own footage: from annotation tools to our format, and tubes back to them."""

from .convert import convert_own
from .reading import FORMATS
from .writing import EXPORTS, export_tubes

__all__ = ['EXPORTS', 'FORMATS', 'convert_own', 'export_tubes']
