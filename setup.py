"""Packaging of hero_mm.

mmcv and mmcv-lite share one folder, so that installing the one beside the
other breaks it. Neither is therefore a requirement: the extra ``lite`` (part
of ``all``) brings mmcv-lite, and who has a compiled mmcv leaves it out.
torch is asked for without a pin, so that the one that is there stays.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What MIM looks for in <package>/.mim.
MIM_FILES = ('model-index.yml', 'configs', 'tools')
EXTRAS = {
    'lite': ['mmcv-lite>=2.0.1,<2.2'],
    'mmdet': ['mmdet>=3.3,<3.4'],
    'mmaction': ['mmaction2>=1.2,<1.3', 'importlib_metadata'],
    'text': ['transformers>=4.40'],
    'tensorboard': ['tensorboard'],
    'demo': ['tensorboard'],
}
EXTRAS['all'] = sorted({name for names in EXTRAS.values() for name in names})
EXTRAS['docs'] = ['furo', 'myst-parser', 'sphinx']
EXTRAS['dev'] = [
    *EXTRAS['docs'],
    'hypothesis',
    'mypy',
    'pytest',
    'pytest-xdist',
    'ruff',
    'setuptools>=70.1',
]
# Not in `all`: it brings forty packages.
EXTRAS['web'] = ['gradio>=6,<7']
EXTRAS['completion'] = ['shtab']
# What drives the page in `make test-all`.
EXTRAS['browser'] = ['playwright']
# MIM 0.3.9 imports pkg_resources, gone from setuptools 82.
EXTRAS['mim'] = ['openmim', 'setuptools<82']


class BuildWithMim(build_py):
    """Put configs and tools where MIM finds them.

    Wheels get copies; an editable install, which builds nothing, gets links
    in the source tree. The recipe of the MM family hooks the commands of old
    and misses today's editable installs; every one of them passes here.
    """

    def run(self):
        """Build the package, then fill ``hero_mm/.mim``."""
        super().run()
        editable = self.editable_mode
        base = ROOT if editable else Path(self.build_lib).resolve()
        folder = base / 'hero_mm' / '.mim'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in MIM_FILES:
            source, target = ROOT / name, folder / name
            if editable and self._link(target, Path('../..') / name):
                continue
            if source.is_dir():
                ignore = shutil.ignore_patterns('__pycache__')
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy2(source, target)

    @staticmethod
    def _link(link, target):
        """Make a relative link; False where the system forbids links."""
        try:
            link.symlink_to(target)
        except OSError:
            return False
        return True


def version():
    """The version, read without importing the package."""
    scope = {}
    exec((ROOT / 'hero_mm' / 'version.py').read_text(), scope)
    return scope['__version__']


setup(
    name='hero-mm',
    version=version(),
    description='Video object grounding with HERO, for the OpenMMLab family',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['hero_mm', 'hero_mm.*']),
    package_data={'hero_mm': ['py.typed', 'shipped/*']},
    python_requires='>=3.10',
    install_requires=[
        'av>=14.1',
        'einops',
        'mmengine>=0.10.7,<0.11',
        'numpy',
        'rich',
        'safetensors',
        # MMEngine's collect_env imports distutils, gone from Python 3.12.
        'setuptools; python_version >= "3.12"',
        'torch>=2.4',
    ],
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['hero-mm = hero_mm.cli:main']},
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
