"""Converters: raw files of data sets to the one annotation format."""

from ..entries import ConversionError
from ..video_facts import VideoCheck
from .common import ConversionSummary
from .hcstvg import convert_hcstvg
from .stcat import convert_stcat
from .tubedetr import convert_tubedetr
from .vid_sentence import convert_vid_sentence
from .vidstg import convert_vidstg

__all__ = [
    'ConversionError',
    'ConversionSummary',
    'VideoCheck',
    'convert_hcstvg',
    'convert_stcat',
    'convert_tubedetr',
    'convert_vid_sentence',
    'convert_vidstg',
]
