"""hero-mm doctor: each known clash is seen, and has a cure."""

import io

import pytest
import torch  # noqa: F401  before find_spec is replaced
from rich.console import Console

from hero_mm import doctor

HEALTHY = dict.fromkeys([*doctor.PACKAGES, *doctor.OPENCV, 'setuptools'])
HEALTHY.update(dict.fromkeys(doctor.PACKAGES, '99'))
HEALTHY.update(
    {
        'torch': '2.13.0+cpu',
        'mmengine': '0.10.7',
        'mmcv': None,
        'mmcv-lite': '2.1.0',
        'mmdet': '3.3.0',
        'mmaction2': '1.2.0',
        'transformers': '5.0.0',
        'tensorboard': '2.1',
        # They differ in a default install; the last one is whole.
        'opencv-python': '4.10.0.84',
        'opencv-contrib-python': '5.1',
        'setuptools': '80.0',
    }
)
COMPILED = {'mmcv': '2.1.0', 'mmcv-lite': None}
TWO = ['CVE-2025-32434', 'CVE-2026-24747']


@pytest.fixture(autouse=True)
def healthy(monkeypatch):
    monkeypatch.setattr(doctor, 'import_error', lambda module: None)
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: False)
    monkeypatch.setattr(doctor.importlib.util, 'find_spec', lambda name: True)


@pytest.mark.parametrize(
    ('package', 'version', 'about', 'fatal', 'cure'),
    [
        ('torch', None, 'torch', True, 'pip install torch'),
        ('torch', '1.13.1', 'torch', True, 'torch>=2.4'),
        ('torch', '2.5.1+cu121', 'torch', False, 'torch>=2.10'),
        ('mmengine', '0.11.0', 'mmengine', True, 'mmengine>=0.10.7,<0.11'),
        ('mmcv-lite', '2.2.0', 'mmcv-lite', True, 'mmcv-lite>=2.0.1,<2.2'),
        ('mmcv-lite', None, 'mmcv', True, 'hero-mm[lite]'),
        ('mmcv', '2.1.0', 'mmcv', False, 'pip uninstall -y mmcv mmcv-lite'),
        ('mmdet', None, 'mmdet', False, 'hero-mm[mmdet]'),
        ('mmdet', '2.28', 'mmdet', True, 'mmdet>=3.3,<3.4'),
        ('mmaction2', None, 'mmaction2', False, 'hero-mm[mmaction]'),
        ('transformers', '4.30', 'transformers', True, 'transformers>=4.4'),
    ],
)
def test_a_clash_is_found_with_its_cure(package, version, about, fatal, cure):
    (finding,) = doctor.diagnose({**HEALTHY, package: version})
    assert (finding.package, finding.fatal) == (about, fatal)
    assert cure in finding.cure


def test_a_compiled_mmcv_must_have_its_operators(monkeypatch):
    (finding,) = doctor.diagnose({**HEALTHY, **COMPILED})
    assert 'without its operators' in finding.problem
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: True)
    assert doctor.diagnose({**HEALTHY, **COMPILED}) == []


@pytest.mark.parametrize(
    ('module', 'changes', 'cure'),
    [
        ('mmcv._ext', COMPILED, 'pip cache remove'),
        ('cv2', {}, 'apt-get install libgl1'),
        ('torchvision', {}, 'pip uninstall torchvision'),
        ('av', {}, '--force-reinstall av'),
    ],
)
def test_what_does_not_import_is_seen(monkeypatch, module, changes, cure):
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: bool(changes))
    monkeypatch.setattr(
        doctor,
        'import_error',
        lambda name: 'OSError: libGL.so.1' if name == module else None,
    )
    (finding,) = doctor.diagnose({**HEALTHY, **changes})
    assert finding.fatal
    assert 'OSError: libGL.so.1' in finding.problem and cure in finding.cure


def test_what_others_forgot_to_declare(monkeypatch):
    monkeypatch.setattr(doctor, 'DISTUTILS_GONE', True)
    (finding,) = doctor.diagnose({**HEALTHY, 'setuptools': None})
    assert 'distutils' in finding.problem and finding.fatal
    monkeypatch.setattr(
        doctor.importlib.util,
        'find_spec',
        lambda name: None if name == 'importlib_metadata' else True,
    )
    (finding,) = doctor.diagnose(HEALTHY)
    assert finding.cure == 'pip install importlib_metadata'


@pytest.mark.parametrize(
    'version,holes',
    [
        ('2.5.1+cu121', TWO),
        ('2.6.0', TWO[1:]),
        ('2.9.1', TWO[1:]),
        ('2.10.0', []),
    ],
)
def test_holes_of_weights_only_are_reported(version, holes):
    found = doctor.diagnose({**HEALTHY, 'torch': version})
    text = ' '.join(finding.problem for finding in found)
    assert [name for name in TWO if name in text] == holes


def test_report_and_exit_code(monkeypatch):
    def run(**changes):
        versions = {**HEALTHY, **changes}
        monkeypatch.setattr(doctor, 'installed_versions', lambda: versions)
        stream = io.StringIO()
        code = doctor.run_doctor(Console(file=stream, width=100))
        return code, stream.getvalue()

    code, text = run()
    assert code == 0
    assert 'Nothing is amiss' in text
    assert 'A config, also that of a work dir, is Python code' in text
    assert '2.1.0 (operators in plain PyTorch)' in text
    code, text = run(mmdet=None)
    assert code == 0 and 'note mmdet is not installed (optional)' in text
    code, text = run(**{'mmdet': None, 'mmcv-lite': None})
    assert code == 1 and text.index('broken mmcv') < text.index('note mmdet')
    assert 'cure: pip install "hero-mm[lite]"' in text
    # Brackets and escapes are shown.
    finding = doctor.Finding('x', '[/x] in \x1b[31m/path', 'mend [/y]')
    monkeypatch.setattr(doctor, 'diagnose', lambda versions: [finding])
    _, text = run()
    assert '[/x] in \\x1b[31m/path' in text and 'mend [/y]' in text


def test_this_environment(monkeypatch):
    monkeypatch.undo()
    versions = doctor.installed_versions()
    assert set(versions) == set(HEALTHY)
    assert versions['mmengine'] and versions['torch']
    assert doctor.import_error('json') is None
    assert doctor.import_error('hero_mm_nowhere') == (
        "ModuleNotFoundError: No module named 'hero_mm_nowhere'"
    )
