"""``hero-mm doctor``: what is installed, what clashes, and the cure.

Versions are read from the metadata of the packages; only torch, and what is
asked whether it imports, is imported.
"""

import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

from mmengine.utils import digit_version
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compat import has_compiled_mmcv
from .texts import printable
from .version import __version__

MMCV = ('mmcv', 'mmcv-lite')
OPENCV = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)
# Lowest version, first one that is too high, and the extra that brings what
# is optional.
PACKAGES = {
    'torch': ('2.4', '', ''),
    'mmengine': ('0.10.7', '0.11', ''),
    'av': ('14.1', '', ''),
    'numpy': ('', '', ''),
    'einops': ('', '', ''),
    'rich': ('', '', ''),
    'mmcv': ('2.0.1', '2.2', 'lite'),
    'mmcv-lite': ('2.0.1', '2.2', 'lite'),
    'mmdet': ('3.3', '3.4', 'mmdet'),
    'mmaction2': ('1.2', '1.3', 'mmaction'),
    'transformers': ('4.40', '', 'text'),
    'tensorboard': ('', '', 'tensorboard'),
}
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
# Versions of torch from which on a hole in ``weights_only`` is closed.
HOLES = {'2.6': 'CVE-2025-32434', '2.10': 'CVE-2026-24747'}
CODE = (
    'A config, also that of a work dir, is Python code and is run: take it '
    'from people you trust.'
)
DISTUTILS_GONE: bool = sys.version_info >= (3, 12)

Versions = Mapping[str, Optional[str]]


class Finding(NamedTuple):
    """One trouble of a package; hero_mm does not work with a fatal one."""

    package: str
    problem: str
    cure: str
    fatal: bool = False


def installed_versions() -> dict[str, Optional[str]]:
    """Versions of the packages that matter; None where one is absent."""
    versions: dict[str, Optional[str]] = {}
    for name in (*PACKAGES, *OPENCV, 'setuptools'):
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


def check_packages(versions: Versions) -> Iterator[Finding]:
    """What is absent, or of a version that hero_mm is not made for."""
    for name, (low, high, extra) in PACKAGES.items():
        found = versions[name]
        if found is None:
            if extra and name not in MMCV:
                cure = f'pip install "hero-mm[{extra}]"'
                yield Finding(name, 'is not installed (optional)', cure)
            elif name not in MMCV:
                cure = f'pip install {name}'
                yield Finding(name, 'is not installed', cure, fatal=True)
            continue
        number = digit_version(found)
        if (low and number < digit_version(low)) or (
            high and number >= digit_version(high)
        ):
            wanted = f'{name}>={low}' + (f',<{high}' if high else '')
            problem = f'version {found} is outside {wanted}'
            cure = f'pip install "{wanted}"'
            yield Finding(name, problem, cure, fatal=True)


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


def check_imports(versions: Versions) -> Iterator[Finding]:
    """What does not import; operators of mmcv and torchvision may be absent.

    Versions of OpenCV's wheels differ in a default install, which works: the
    one installed last is whole.
    """
    absent = set()
    if not versions['mmcv'] or not has_compiled_mmcv():
        absent.add('mmcv._ext')
    if not importlib.util.find_spec('torchvision'):
        absent.add('torchvision')
    for module, (package, why, cure) in IMPORTS.items():
        reason = None if module in absent else import_error(module)
        if reason is not None:
            # Only transformers needs it.
            free = package == 'torchvision' and not versions['transformers']
            problem = f'does not import ({reason}){why}'
            yield Finding(package, problem, cure, fatal=not free)


def check_others(versions: Versions) -> Iterator[Finding]:
    """What packages do not declare, and a torch that may run code."""
    if DISTUTILS_GONE and versions['setuptools'] is None:
        yield Finding(
            'setuptools',
            'is not installed; MMEngine imports distutils, which Python '
            '3.12 took out and setuptools brings back',
            'pip install setuptools',
            fatal=True,
        )
    undeclared = importlib.util.find_spec('importlib_metadata') is None
    if versions['mmaction2'] is not None and undeclared:
        yield Finding(
            'mmaction2',
            'imports importlib_metadata, which it does not declare',
            'pip install importlib_metadata',
        )
    torch = digit_version((versions['torch'] or '99').partition('+')[0])
    holes = [name for low, name in HOLES.items() if torch < digit_version(low)]
    # An older one is refused altogether.
    if holes and torch >= digit_version(PACKAGES['torch'][0]):
        yield Finding(
            'torch',
            f'weights_only is unsound ({", ".join(holes)}): a checkpoint can '
            'run code; those that the work dir did not write are refused '
            'without --trust-checkpoint, .safetensors are read',
            'pip install "torch>=2.10"',
        )


def diagnose(versions: Versions) -> list[Finding]:
    """Run all checks; what is fatal comes first."""
    checks = (check_packages, check_mmcv, check_imports, check_others)
    found = [finding for check in checks for finding in check(versions)]
    return sorted(found, key=lambda finding: not finding.fatal)


def torch_flavour() -> str:
    """What torch computes on, for people."""
    if import_error('torch') is not None:
        return 'does not import'
    import torch

    if torch.cuda.is_available():
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name(0)
        return f'CUDA {torch.version.cuda}, {count} x {name}'
    build = torch.version.cuda
    return f'CUDA {build}, no GPU found' if build else 'CPU'


def version_table(versions: Versions) -> Table:
    """The table of versions that is shown."""
    table = Table(title=f'hero_mm {__version__}', title_justify='left')
    table.add_column('package')
    table.add_column('version')
    table.add_row('python', platform.python_version())
    notes = {
        'torch': torch_flavour(),
        'mmcv': 'compiled' if has_compiled_mmcv() else 'without operators',
        'mmcv-lite': 'operators in plain PyTorch',
    }
    for name in (*PACKAGES, *OPENCV):
        version = versions[name] or 'absent'
        if versions[name] and name in notes:
            version += f' ({notes[name]})'
        if versions[name] or name not in (*MMCV, *OPENCV):
            table.add_row(name, version)
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
