"""What a conversion counts and lists, beside what is published."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hero_mm.errors import UserError
from hero_mm.files import write_text

from ..checks import QUERY_TYPES
from ..entries import PathLike

# VidSTG's val and test, and the videos of all its splits, were counted in the
# official files; the other numbers are as published.
_SIZES: dict[tuple[str, str], dict[str, int]] = {
    ('vidstg', 'train'): dict(
        videos=5436, declarative=36202, interrogative=44482
    ),
    ('vidstg', 'val'): dict(videos=602, declarative=3996, interrogative=4960),
    ('vidstg', 'test'): dict(videos=732, declarative=4610, interrogative=5693),
    ('hcstvg', 'train'): dict(declarative=4500),
    ('hcstvg', 'test'): dict(declarative=1160),
    ('hcstvg-v2', 'train'): dict(declarative=10131),
    ('hcstvg-v2', 'val'): dict(declarative=2000),
    ('hcstvg-v2', 'test'): dict(declarative=4413),
    ('vid-sentence', 'train'): dict(declarative=6582),
    ('vid-sentence', 'val'): dict(declarative=536),
    ('vid-sentence', 'test'): dict(declarative=536),
}


def official_counts(dataset: str, split: str) -> dict[str, int]:
    """The size of a split: ``videos`` where known, ``sentences``, and types.

    Empty where none is published.
    """
    sizes = _SIZES.get((dataset, split), {})
    total = sum(sizes.values()) - sizes.get('videos', 0)
    return dict(sizes, sentences=total) if sizes else {}


@dataclass
class ConversionSummary:
    """What a conversion wrote, repaired and left out.

    Args:
        out (str): The file or folder that it writes.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first.

    Attributes:
        videos (int), clips (int): Videos and segments written.
        sentences (Counter): Sentences written, by type.
        official (dict[str, int]): What :func:`official_counts` says.
        notes (Counter): What was repaired or is worth knowing, by its kind.
        repaired (list[str]): The same by name, one line a thing.
        skipped (list[str]): Everything that was left out, and why.
    """

    out: str = ''
    skip_bad: bool = False
    videos: int = 0
    clips: int = 0
    sentences: Counter = field(default_factory=Counter)
    official: dict[str, int] = field(default_factory=dict)
    notes: Counter = field(default_factory=Counter)
    repaired: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Count something and list where it is."""
        self.notes[kind] += count
        self.repaired.append(f'{kind}: {where}')

    def skip(self, error: Exception, what: str) -> None:
        """List what is left out and why; without ``skip_bad`` raise that."""
        if not self.skip_bad:
            raise error
        self.skipped.append(f'{what}: {error}')

    @contextmanager
    def leaving_out(self, what: str) -> Iterator[None]:
        """Leave out, in a ``with`` block, what is wrong."""
        try:
            yield
        except UserError as error:
            self.skip(error, what)

    def take(self, other: 'ConversionSummary') -> None:
        """Add what was noted and skipped elsewhere."""
        self.notes.update(other.notes)
        self.repaired.extend(other.repaired)
        self.skipped.extend(other.skipped)

    def text(self) -> str:
        """The numbers as text: the file, then one line a number."""
        types = sorted({*self.sentences, *self.official} & set(QUERY_TYPES))
        rows = [
            ('videos', self.videos),
            ('segments (clips)', self.clips),
            ('sentences', sum(self.sentences.values())),
            *((f'  {name}', self.sentences[name]) for name in types),
            *sorted(self.notes.items()),
            ('skipped', len(self.skipped)),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [self.out]
        for name, count in rows:
            line = f'  {name:<{width}}  {count:>9,}'
            published = self.official.get(name.strip(), count)
            if name.strip() in self.official:
                line += f' of {published:,} published'
            if count != published:
                line += f' ({count - published:+,})'
            lines.append(line)
        return '\n'.join(lines)

    def write_list(self, path: PathLike) -> None:
        """Write the text, then everything repaired or skipped by name."""
        lines = [self.text()]
        lines += [f'repaired: {line}' for line in self.repaired]
        lines += [f'skipped: {line}' for line in self.skipped]
        write_text(Path(path), '\n'.join(lines) + '\n')
