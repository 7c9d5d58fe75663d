"""hero-mm doctor: each known clash is seen, and has a cure."""

import io

import pytest
import torch  # noqa: F401  before find_spec is replaced
from rich.console import Console

from hero_mm import doctor

HEALTHY = {
    'torch': '2.13.0+cpu',
    'mmengine': '0.10.7',
    'av': '14.0',
    'numpy': '2.4.0',
    'einops': '0.8.0',
    'rich': '13.0',
    'mmcv': None,
    'mmcv-lite': '2.1.0',
    'mmdet': '3.3.0',
    'mmaction2': '1.2.0',
    'transformers': '5.0.0',
    'tensorboard': '2.1',
    'opencv-python': '4.10.0.84',
    'opencv-contrib-python': '4.10.0.84',
    'opencv-python-headless': None,
    'opencv-contrib-python-headless': None,
    'setuptools': '80.0',
}


@pytest.fixture(autouse=True)
def healthy(monkeypatch):
    monkeypatch.setattr(doctor, 'import_error', lambda module: None)
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: False)
    monkeypatch.setattr(doctor.importlib.util, 'find_spec', lambda name: True)


def diagnose(**changes):
    versions = {k.replace('_', '-'): v for k, v in changes.items()}
    return doctor.diagnose({**HEALTHY, **versions})


def test_nothing_is_found_in_a_healthy_environment():
    assert diagnose() == []


@pytest.mark.parametrize(
    ('changes', 'package', 'fatal', 'cure'),
    [
        (dict(torch=None), 'torch', True, 'pip install torch'),
        (dict(torch='1.13.1'), 'torch', True, 'torch>=2.4'),
        (dict(torch='2.5.1+cu121'), 'torch', False, 'torch>=2.10'),
        (dict(torch='2.9.1'), 'torch', False, 'torch>=2.10'),
        (dict(mmengine='0.11.0'), 'mmengine', True, 'mmengine>=0.10.7,<0.11'),
        (dict(mmcv_lite='2.2.0'), 'mmcv-lite', True, 'mmcv-lite>=2.0.1,<2.2'),
        (dict(mmcv_lite=None), 'mmcv', True, 'hero-mm[lite]'),
        (dict(mmcv='2.1.0'), 'mmcv', False, 'pip uninstall -y mmcv mmcv-lite'),
        (dict(mmdet=None), 'mmdet', False, 'hero-mm[mmdet]'),
        (dict(mmdet='2.28'), 'mmdet', True, 'mmdet>=3.3,<3.4'),
        (dict(mmaction2=None), 'mmaction2', False, 'hero-mm[mmaction]'),
        (dict(transformers='4.30'), 'transformers', True, 'transformers>=4.4'),
    ],
)
def test_a_clash_is_found_with_its_cure(changes, package, fatal, cure):
    (finding,) = diagnose(**changes)
    assert (finding.package, finding.fatal) == (package, fatal)
    assert cure in finding.cure


def test_wheels_of_opencv_that_differ_are_fine():
    """They do in a default install; the last one is whole."""
    assert diagnose(opencv_python='5.0', opencv_contrib_python='5.1') == []


def test_a_compiled_mmcv_alone_is_fine(monkeypatch):
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: True)
    assert diagnose(mmcv='2.1.0', mmcv_lite=None) == []


def test_an_mmcv_without_operators_is_seen():
    (finding,) = diagnose(mmcv='2.1.0', mmcv_lite=None)
    assert 'without its operators' in finding.problem


@pytest.mark.parametrize(
    ('module', 'changes', 'cure'),
    [
        ('mmcv._ext', dict(mmcv='2.1.0', mmcv_lite=None), 'pip cache remove'),
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
    (finding,) = diagnose(**changes)
    assert finding.fatal
    assert 'OSError: libGL.so.1' in finding.problem and cure in finding.cure


def test_distutils_are_asked_for_where_python_has_none(monkeypatch):
    monkeypatch.setattr(doctor, 'DISTUTILS_GONE', True)
    assert diagnose() == []
    (finding,) = diagnose(setuptools=None)
    assert 'distutils' in finding.problem and finding.fatal


def test_what_mmaction_forgot_to_declare(monkeypatch):
    monkeypatch.setattr(
        doctor.importlib.util,
        'find_spec',
        lambda name: None if name == 'importlib_metadata' else True,
    )
    (finding,) = diagnose()
    assert finding.cure == 'pip install importlib_metadata'


def test_fatal_findings_come_first():
    found = diagnose(mmdet=None, torch=None)
    assert [finding.fatal for finding in found] == [True, False]


def run(monkeypatch, versions):
    monkeypatch.setattr(doctor, 'installed_versions', lambda: versions)
    text = io.StringIO()
    code = doctor.run_doctor(Console(file=text, width=100))
    return code, text.getvalue()


def test_report_and_exit_code(monkeypatch):
    code, text = run(monkeypatch, HEALTHY)
    assert code == 0
    assert 'Nothing is amiss' in text
    assert 'A config, also that of a work dir, is Python code' in text
    assert '2.1.0 (lite; operators in plain PyTorch)' in text
    code, text = run(monkeypatch, {**HEALTHY, 'mmdet': None})
    assert code == 0 and 'note mmdet is not installed (optional)' in text
    code, text = run(monkeypatch, {**HEALTHY, 'mmcv-lite': None})
    assert code == 1 and 'broken mmcv' in text
    assert 'cure: pip install "hero-mm[lite]"' in text


def test_versions_of_this_environment():
    versions = doctor.installed_versions()
    assert set(versions) == set(HEALTHY)
    assert versions['mmengine'] and versions['torch']


def test_why_a_module_does_not_import(monkeypatch):
    monkeypatch.undo()
    assert doctor.import_error('json') is None
    assert doctor.import_error('hero_mm_nowhere') == (
        "ModuleNotFoundError: No module named 'hero_mm_nowhere'"
    )


def test_flavours(monkeypatch):
    assert doctor.mmcv_flavour({**HEALTHY, 'mmcv-lite': None}) == 'absent'
    monkeypatch.setattr(doctor, 'has_compiled_mmcv', lambda: True)
    assert doctor.mmcv_flavour({**HEALTHY, 'mmcv': '2.1.0'}) == (
        '2.1.0 (compiled)'
    )
    assert doctor.torch_flavour({**HEALTHY, 'torch': None}) == 'absent'
    assert '(C' in doctor.torch_flavour(HEALTHY)


@pytest.mark.parametrize(
    'version,holes',
    [
        ('2.5.1+cu121', ['CVE-2025-32434', 'CVE-2026-24747']),
        ('2.6.0', ['CVE-2026-24747']),
        ('2.9.1', ['CVE-2026-24747']),
        ('2.10.0', []),
        ('2.13.0+cpu', []),
    ],
)
def test_holes_of_weights_only_are_reported(version, holes):
    text = ' '.join(finding.problem for finding in diagnose(torch=version))
    assert [name for name in doctor.HOLES.values() if name in text] == holes


def test_brackets_and_escapes_in_a_problem_are_shown(monkeypatch):
    finding = doctor.Finding('x', '[/x] in \x1b[31m/path', 'mend [/y]')
    monkeypatch.setattr(doctor, 'diagnose', lambda versions: [finding])
    stream = io.StringIO()
    assert doctor.run_doctor(Console(file=stream, width=200)) == 0
    text = stream.getvalue()
    assert '[/x] in \\x1b[31m/path' in text and 'mend [/y]' in text
    assert 'is Python code and is run' in text
