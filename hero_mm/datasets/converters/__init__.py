"""Converters: raw files of data sets to the one annotation format."""

from ..entries import ConversionError
from .conversion import Conversion
from .hcstvg import convert_hcstvg
from .summary import ConversionSummary
from .vid_sentence import convert_vid_sentence
from .vidstg import convert_vidstg

__all__ = [
    'Conversion',
    'ConversionError',
    'ConversionSummary',
    'convert_hcstvg',
    'convert_vid_sentence',
    'convert_vidstg',
]
