"""Every backbone, neck and proposal generator at a small size."""

from .rows import (
    KINDS,
    Result,
    Row,
    all_rows,
    count_variant,
    is_as_it_should,
    try_row,
)
from .table import cells_of, replace_section, zoo_section

__all__ = [
    'KINDS',
    'Result',
    'Row',
    'all_rows',
    'cells_of',
    'count_variant',
    'is_as_it_should',
    'replace_section',
    'try_row',
    'zoo_section',
]
