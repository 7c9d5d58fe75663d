"""Files that are there as a whole or not at all."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is never seen half written.

    Args:
        path (Path): The file; its folder is made.
        content (bytes): All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file.
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        # Of a full disk nothing is left.
        part.unlink(missing_ok=True)
        raise
