"""``hero-mm doctor``: what is installed, what clashes, and the cure.

Each check looks at one known trouble and gives a :class:`Finding`. Versions
are read from the metadata of the packages; only torch, and what is asked
whether it imports, is imported.
"""

import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Callable, Optional

from mmengine.utils import digit_version
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compat import has_compiled_mmcv
from .texts import printable
from .version import __version__

NEEDED = ('torch', 'mmengine', 'av', 'numpy', 'einops', 'rich')
FAMILY = ('mmdet', 'mmaction2', 'transformers', 'tensorboard')
MMCV = ('mmcv', 'mmcv-lite')
OPENCV = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)
EXTRAS = {
    'mmdet': 'mmdet',
    'mmaction2': 'mmaction',
    'transformers': 'text',
    'tensorboard': 'tensorboard',
}
# Half-open ranges of versions that hero_mm is made for.
RANGES = {
    'torch': ('2.4', None),
    'mmengine': ('0.10.7', '0.11'),
    'mmcv': ('2.0.1', '2.2'),
    'mmcv-lite': ('2.0.1', '2.2'),
    'mmdet': ('3.3', '3.4'),
    'mmaction2': ('1.2', '1.3'),
    'transformers': ('4.40', None),
}

CODE = (
    'A config, also that of a work dir, is Python code and is run: take it '
    'from people you trust.'
)

DISTUTILS_GONE: bool = sys.version_info >= (3, 12)

Versions = Mapping[str, Optional[str]]


@dataclass(frozen=True)
class Finding:
    """One trouble.

    Attributes:
        package (str): What it is about.
        problem (str): What is wrong, and what it breaks.
        cure (str): What to do.
        fatal (bool): hero_mm does not work with it.
    """

    package: str
    problem: str
    cure: str
    fatal: bool = False


def installed_versions() -> dict[str, Optional[str]]:
    """Versions of the packages that matter; None where one is absent."""
    versions: dict[str, Optional[str]] = {}
    for name in (*NEEDED, *MMCV, *FAMILY, *OPENCV, 'setuptools'):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def import_error(module: str) -> Optional[str]:
    """Why a module does not import, in one line; None when it does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever an import may raise
        text = str(error).strip().split('\n')[0]
        return f'{type(error).__name__}: {text}'
    return None


def check_needed(versions: Versions) -> Iterator[Finding]:
    """What hero_mm cannot do without."""
    for name in NEEDED:
        if versions[name] is None:
            yield Finding(
                name, 'is not installed', f'pip install {name}', fatal=True
            )


def check_ranges(versions: Versions) -> Iterator[Finding]:
    """Versions that hero_mm is not made for."""
    for name, (low, high) in RANGES.items():
        found = versions.get(name)
        if found is None:
            continue
        number = digit_version(found)
        if number < digit_version(low) or (
            high is not None and number >= digit_version(high)
        ):
            wanted = f'{name}>={low}' + (f',<{high}' if high else '')
            yield Finding(
                name,
                f'version {found} is outside {wanted}',
                f'pip install "{wanted}"',
                fatal=True,
            )


# Versions of torch from which on a hole in ``weights_only`` is closed.
HOLES = {'2.6': 'CVE-2025-32434', '2.10': 'CVE-2026-24747'}


def check_weights_only(versions: Versions) -> Iterator[Finding]:
    """A torch that may run code in a checkpoint, though asked not to."""
    found = versions.get('torch')
    if found is None:
        return
    number = digit_version(found.partition('+')[0])
    if number < digit_version(RANGES['torch'][0]):
        return  # Refused altogether.
    holes = [
        name for fixed, name in HOLES.items() if number < digit_version(fixed)
    ]
    if holes:
        yield Finding(
            'torch',
            f'weights_only of {found} is unsound ({", ".join(holes)}): a '
            'checkpoint can run code; those that the work dir did not write '
            'are refused without --trust-checkpoint, .safetensors are read',
            'pip install "torch>=2.10"',
        )


def check_mmcv(versions: Versions) -> Iterator[Finding]:
    """mmcv: one of two flavours, never both."""
    both = [name for name in MMCV if versions[name] is not None]
    if not both:
        yield Finding(
            'mmcv',
            'neither mmcv nor mmcv-lite is installed; the transforms need one',
            'pip install "hero-mm[lite]"',
            fatal=True,
        )
    if len(both) == 2:
        yield Finding(
            'mmcv',
            'mmcv and mmcv-lite share one folder; the one installed last won',
            'pip uninstall -y mmcv mmcv-lite, then install one of them',
        )
    if both == ['mmcv'] and not has_compiled_mmcv():
        yield Finding(
            'mmcv',
            'was built without its operators, as an isolated build is',
            'rebuild it (docs/install.md, "Compiled mmcv") or use mmcv-lite',
        )


# Of a module that must import: its package, what else is to be known, and
# the cure.
IMPORTS = {
    'av': ('av', '', 'pip install --force-reinstall av'),
    'mmengine': ('mmengine', '', 'pip install --force-reinstall mmengine'),
    'cv2': (
        'opencv',
        '; the plain and contrib wheels need libGL, and all wheels share one '
        'folder: removing one breaks the others',
        'apt-get install libgl1, or: pip uninstall -y '
        f'{" ".join(OPENCV)}; pip install opencv-contrib-python-headless',
    ),
    'torchvision': (
        'torchvision',
        '; it was built for another torch, and transformers fails with it',
        'pip uninstall torchvision (hero_mm does not need it), or install '
        'the build that fits your torch',
    ),
    'mmcv._ext': (
        'mmcv',
        '; its operators were built for another torch',
        'pip cache remove mmcv, then build it again (docs/install.md, '
        '"Compiled mmcv")',
    ),
}


def check_imports(versions: Versions) -> Iterator[Finding]:
    """What does not import; operators of mmcv and torchvision may be absent.

    Versions of OpenCV's wheels differ in a default install, which works: the
    one installed last is whole.
    """
    for module, (package, why, cure) in IMPORTS.items():
        if module == 'mmcv._ext' and not (
            versions['mmcv'] and has_compiled_mmcv()
        ):
            continue
        if package == 'torchvision' and not importlib.util.find_spec(module):
            continue
        reason = import_error(module)
        if reason is not None:
            # Only transformers needs it.
            free = package == 'torchvision' and not versions['transformers']
            problem = f'does not import ({reason}){why}'
            yield Finding(package, problem, cure, fatal=not free)


def check_setuptools(versions: Versions) -> Iterator[Finding]:
    """MMEngine's collect_env needs distutils."""
    if DISTUTILS_GONE and versions['setuptools'] is None:
        yield Finding(
            'setuptools',
            'is not installed; MMEngine imports distutils, which Python '
            '3.12 took out and setuptools brings back',
            'pip install setuptools',
            fatal=True,
        )


def check_family(versions: Versions) -> Iterator[Finding]:
    """Optional packages that are absent."""
    for name in FAMILY:
        if versions[name] is None:
            yield Finding(
                name,
                'is not installed (optional)',
                f'pip install "hero-mm[{EXTRAS[name]}]"',
            )
    undeclared = importlib.util.find_spec('importlib_metadata') is None
    if versions['mmaction2'] is not None and undeclared:
        yield Finding(
            'mmaction2',
            'imports importlib_metadata, which it does not declare',
            'pip install importlib_metadata',
        )


CHECKS: tuple[Callable[[Versions], Iterator[Finding]], ...] = (
    check_needed,
    check_ranges,
    check_weights_only,
    check_mmcv,
    check_imports,
    check_setuptools,
    check_family,
)


def diagnose(versions: Optional[Versions] = None) -> list[Finding]:
    """Run all checks; what is fatal comes first."""
    known = installed_versions() if versions is None else versions
    found = [finding for check in CHECKS for finding in check(known)]
    return sorted(found, key=lambda finding: not finding.fatal)


def mmcv_flavour(versions: Versions) -> str:
    """Which mmcv there is, for people."""
    if versions['mmcv'] is not None:
        kind = 'compiled' if has_compiled_mmcv() else 'without operators'
        return f'{versions["mmcv"]} ({kind})'
    if versions['mmcv-lite'] is not None:
        return f'{versions["mmcv-lite"]} (lite; operators in plain PyTorch)'
    return 'absent'


def torch_flavour(versions: Versions) -> str:
    """Which torch there is, for people."""
    if versions['torch'] is None or import_error('torch') is not None:
        return str(versions['torch'] or 'absent')
    import torch

    if not torch.cuda.is_available():
        build = torch.version.cuda
        return f'{torch.__version__} (' + (
            f'CUDA {build}, no GPU found)' if build else 'CPU)'
        )
    return (
        f'{torch.__version__} (CUDA {torch.version.cuda}, '
        f'{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)})'
    )


def version_table(versions: Versions) -> Table:
    """The table of versions that is shown."""
    table = Table(title=f'hero_mm {__version__}', title_justify='left')
    table.add_column('package')
    table.add_column('version')
    table.add_row('python', platform.python_version())
    table.add_row('torch', torch_flavour(versions))
    table.add_row('mmcv', mmcv_flavour(versions))
    for name in ('mmengine', 'numpy', 'av', *FAMILY):
        table.add_row(name, versions[name] or 'absent')
    wheels = [f'{n} {versions[n]}' for n in OPENCV if versions[n] is not None]
    table.add_row('opencv', '\n'.join(wheels) or 'absent')
    return table


def run_doctor(console: Optional[Console] = None) -> int:
    """Show versions and findings; 1 when what is needed is broken."""
    console = console or Console()
    versions = installed_versions()
    console.print(version_table(versions))
    findings = diagnose(versions)
    if not findings:
        console.print('Nothing is amiss.')
    for finding in findings:
        # No markup: a problem may name a path with brackets.
        console.print(
            Text('broken' if finding.fatal else 'note', 'red bold'),
            Text(finding.package, 'bold'),
            Text(printable(finding.problem)),
        )
        console.print(Text(f'       cure: {finding.cure}'))
    console.print(Text(CODE))
    return int(any(finding.fatal for finding in findings))
