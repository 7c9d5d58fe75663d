"""Pretrained starts: fetch weights of others and bring them into HERO's names.

:mod:`.fetching` makes ``hf://``, URLs and ``torchvision://`` work in
``load_from`` and ``init_cfg``; :mod:`.layouts` holds how the checkpoints of
others are laid out; :mod:`.conversion` maps them and tells what happened to
every tensor; :mod:`.command_line` is what ``tools/model_converters`` share.
"""
