"""Pretrained starts: fetch weights of others and bring them into HERO's names.

:mod:`.fetching` makes ``hf://``, URLs and ``torchvision://`` work in
``load_from`` and ``init_cfg``, :mod:`.reading` reads files and runs none of
their code; :mod:`.sources` finds the weights of a checkpoint of any make,
:mod:`.layouts` holds how those of others are laid out, :mod:`.conversion`
maps them and reports what became of every one; :mod:`.command_line` is what
``tools/model_converters`` share.
"""
