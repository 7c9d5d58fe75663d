"""Converters: raw files of data sets to the one annotation format."""

from .vidstg import ConversionError, ConversionSummary, convert_vidstg

__all__ = ['ConversionError', 'ConversionSummary', 'convert_vidstg']
