"""What MMEngine's hub asks of a package: ``get_model('hero_mm::...')``."""

from mmengine.registry import init_default_scope


def register_all_modules(init_default: bool = True) -> None:
    """Register all components of hero_mm, and make it the default scope."""
    from . import datasets, engine, evaluation, models  # noqa: F401

    if init_default:
        init_default_scope('hero_mm')
