"""Raw files of VidSTG and VidOR in the official form, made by hand."""

import json

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import convert_vidstg

COUNT = 20


def box(frame, tid=0, **changes):
    corners = dict(xmin=frame, ymin=3, xmax=frame + 10, ymax=30)
    return dict(
        tid=tid, bbox={**corners, **changes}, generated=0, tracker='none'
    )


def vidor(name='11', **changes):
    trajectories = [
        [box(frame, 0), *([box(frame, 2)] if frame % 10 else [])]
        for frame in range(COUNT)
    ]
    raw = {
        'video_id': name,
        'video_path': f'0000/{name}.mp4',
        'frame_count': COUNT,
        'fps': 10,
        'width': 64,
        'height': 48,
        'subject/objects': [
            dict(tid=0, category='adult'),
            dict(tid=2, category='ball/sports_ball'),
        ],
        'trajectories': trajectories,
        'relation_instances': [
            dict(
                subject_tid=0,
                object_tid=2,
                predicate=predicate,
                begin_fid=0,
                end_fid=9,
            )
            for predicate in ('watch', 'above')
        ],
    }
    return {**raw, **changes}


def entry(name='11', segment=(0, 19), truth=(4, 9), **changes):
    return {
        'vid': name,
        'fps': 10,
        'frame_count': COUNT,
        'width': 64,
        'height': 48,
        'subject/objects': [dict(tid=0, category='adult')],
        'used_segment': dict(begin_fid=segment[0], end_fid=segment[1]),
        'used_relation': dict(
            subject_tid=0,
            object_tid=2,
            predicate='watch',
            begin_fid=truth[0],
            end_fid=truth[1],
        ),
        'temporal_gt': dict(begin_fid=truth[0], end_fid=truth[1]),
        'captions': [
            dict(description='he watches it.', type='person', target_id=0)
        ],
        'questions': [
            dict(description='who watches it?', type='person', target_id=0),
            dict(description='what is watched?', type='object', target_id=2),
        ],
        **changes,
    }


class Case:
    """Raw files in a folder, and their conversion."""

    def __init__(self, folder):
        self.folder = folder
        self.entries = [entry()]
        self.vidor = {'annotation/training/0000/11.json': vidor()}

    def write(self):
        for name, raw in self.vidor.items():
            path = self.folder / 'vidor' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(raw))
        self.path = self.folder / 'val_annotations.json'
        self.path.write_text(json.dumps(self.entries))

    def convert(self, **options):
        self.write()
        out = self.folder / 'out' / 'val.json'
        summary = convert_vidstg(
            self.path, self.folder / 'vidor', out, **options
        )
        return load_annotation(out), summary
