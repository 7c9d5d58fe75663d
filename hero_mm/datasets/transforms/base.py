"""What all transforms share."""

import inspect

from mmcv.transforms import BaseTransform


class Transform(BaseTransform):
    """A transform that shows its arguments."""

    def __repr__(self) -> str:
        names = inspect.signature(type(self).__init__).parameters
        shown = {name: getattr(self, name, ...) for name in names}
        words = [f'{n}={v!r}' for n, v in shown.items() if v is not ...]
        return f'{type(self).__name__}({", ".join(words)})'
