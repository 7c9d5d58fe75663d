"""The version of hero_mm, read by setup.py and shown by ``hero-mm doctor``."""

__version__ = '0.2.0.dev0'
