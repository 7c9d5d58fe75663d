# HERO on what a frozen detector finds, on the embedded benchmark. The detector
# comes first:
#   python tools/train.py configs/detectors/fcos_shapes.py
#   bash tools/dist_train.sh configs/hero_detector_shapes.py 2  (two cores)
#   python tools/train.py configs/hero_detector_shapes.py       (one process)
_base_ = [
    './hero_shiftconv_2xb4-16f-3e_shapes.py',
    '../_base_/models/shapes_detector.py',
]
model = dict(
    proposal_generator=dict(
        _delete_=True,
        type='DetectorProposals',
        detector=_base_.detector,
        # The best one of its work dir. It becomes part of HERO's own.
        checkpoint='work_dirs/fcos_shapes',
        frozen=True,
        max_per_frame=12,
        batch_size=64,
    ),
    # Regions of a frame that go on.
    max_regions=6,
)
