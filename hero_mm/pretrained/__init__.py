"""Pretrained starts: fetch weights of others and bring them into HERO's names.

:mod:`.fetching` makes ``hf://``, URLs and ``torchvision://`` work in
``load_from`` and ``init_cfg``, :mod:`.reading` reads files and runs none of
their code; :mod:`.conversion` finds the weights of a checkpoint of any make,
maps them and says what became of every one.
"""
