"""Files that are there as a whole or not at all."""

from pathlib import Path

import pytest

from hero_mm.files import write_bytes


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'folder' / 'a.bin'
    write_bytes(path, b'old')
    write = Path.write_bytes

    def full(self, content):
        write(self, content[:2])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'):
        write_bytes(path, b'new one')
    assert [one.name for one in path.parent.iterdir()] == ['a.bin']
    assert path.read_bytes() == b'old'
