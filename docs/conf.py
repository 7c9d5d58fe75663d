"""Sphinx: `make docs` builds build/docs."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hero_mm import __version__  # noqa: E402

project = 'hero_mm'
author = 'The hero_mm contributors'
copyright = author
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
html_theme = 'furo'
html_title = 'hero_mm'


# GitHub and MyST name headings alike.
myst_heading_anchors = 4
# Pages link to files of the repository, as they do on the usual host.
myst_url_schemes = ('http', 'https', 'mailto')
suppress_warnings = ['myst.xref_missing']

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
