"""Converters: raw files of data sets to the one annotation format."""

from .common import ConversionError, ConversionSummary
from .hcstvg import convert_hcstvg
from .stcat import convert_stcat
from .tubedetr import convert_tubedetr
from .vid_sentence import convert_vid_sentence
from .vidstg import convert_vidstg

__all__ = [
    'ConversionError',
    'ConversionSummary',
    'convert_hcstvg',
    'convert_stcat',
    'convert_tubedetr',
    'convert_vid_sentence',
    'convert_vidstg',
]
