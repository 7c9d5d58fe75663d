"""Raw files of each data set in its official form, made by hand."""

import copy
import json
from types import SimpleNamespace

import cv2

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    convert_hcstvg,
    convert_vid_sentence,
    convert_vidstg,
)


class Case:
    """Raw files in a folder, and their conversion.

    ``raw`` is what stands in them.
    """

    def __init__(self, folder):
        self.folder = folder

    @property
    def values(self):
        """The JSON among them, any value of which may be wrong."""
        return self.raw

    def files(self):
        """Name of each file to its JSON, its text or its bytes."""
        return {self.name: self.raw}

    def write(self, **changed):
        for name, raw in {**self.files(), **changed}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = raw if isinstance(raw, str) else json.dumps(raw)
            path.write_bytes(text.encode('latin-1'))
        self.path = path

    def convert(self, **options):
        self.write()
        out = self.folder / 'out' / 'a.json'
        summary = self.run(out, **options)
        return load_annotation(out), summary


# VidSTG ----------------------------------------------------------------------

COUNT = 20


def box(frame, tid=0, **changes):
    corners = dict(xmin=frame, ymin=3, xmax=frame + 10, ymax=30)
    return dict(
        tid=tid, bbox={**corners, **changes}, generated=0, tracker='none'
    )


def relation(subject, predicate, other, begin=0, end=9):
    return dict(
        subject_tid=subject,
        object_tid=other,
        predicate=predicate,
        begin_fid=begin,
        end_fid=end,
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
            relation(0, predicate, 2) for predicate in ('watch', 'above')
        ],
    }
    return {**raw, **changes}


def entry(name='11', segment=(0, 19), truth=(4, 9), **changes):
    return {
        'vid': name,
        'used_segment': dict(begin_fid=segment[0], end_fid=segment[1]),
        'used_relation': relation(0, 'watch', 2, *truth),
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


class VidSTG(Case):
    """One entry of three sentences, and VidOR's files by their path."""

    first = 'annotation/training/0000/11.json'

    def __init__(self, folder):
        super().__init__(folder)
        self.entries = [entry()]
        self.vidor = {self.first: vidor()}

    @property
    def raw(self):
        return dict(E=self.entries, V=self.vidor[self.first])

    def files(self):
        boxes = {f'vidor/{name}': raw for name, raw in self.vidor.items()}
        return {**boxes, 'val_annotations.json': self.entries}

    def run(self, out, **options):
        boxes = self.folder / 'vidor'
        return convert_vidstg(self.path, boxes, out, **options)


# HC-STVG ---------------------------------------------------------------------

ONE, TWO = '55_vfjywN5CN0Y.mp4', '27_woC9Vfbn74I.mkv'
# At 30 frames a second: img_num is what ffmpeg extracts of 20 seconds.
IMG_NUM = 600


def boxes_of(count):
    """Boxes of left, top, width and height that tell their place."""
    return [[place, 4, 20, 30] for place in range(count)]


def first_version(start=157, count=131, **changes):
    """An entry as version 1 has it."""
    raw = dict(
        bbox=boxes_of(count),
        img_num=IMG_NUM,
        caption='The man in brown clothes turns his head.',
        width=480,
        height=360,
        st_frame=start,
    )
    return {**raw, **changes}


def second_version(start=157, last=287, **changes):
    """An entry as version 2 has it; its last frame is named."""
    raw = dict(
        img_size=[360, 480],
        English='The man in brown clothes turns his head.',
        st_frame=start,
        ed_frame=last,
        img_num=IMG_NUM,
        bbox=boxes_of(last - start + 1),
    )
    return {**raw, **changes}


class HCSTVG(Case):
    """One entry of version 1."""

    def __init__(self, folder):
        super().__init__(folder)
        self.raw = {ONE: first_version()}

    def convert(self, name='test.json', text=None, **options):
        self.name, self.raw = name, text or self.raw
        return super().convert(**options)

    def run(self, out, **options):
        return convert_hcstvg(self.path, out, **options)


# VID-sentence ----------------------------------------------------------------

ELEPHANT = 'ILSVRC2015_val_00118001'
PLANE = 'ILSVRC2015_val_00007010'


def track(track_id='0', frames=range(1, 21), name='elephant'):
    """A track as the files have it; frames count from 1."""
    about = {'class': name, 'generated': 0, 'frame_size': [48, 64]}
    boxes = [
        dict(about, bbox=[frame, 3, frame + 10, 30], frame=frame)
        for frame in frames
    ]
    return dict(track=boxes, id=track_id)


class VIDSentence(Case):
    """The folder ILSVRC: lists of tubes and of sentences, and tracks."""

    split = 'test'

    @property
    def values(self):
        return self.raw['tracks'][f'val/{ELEPHANT}']

    def __init__(self, folder):
        super().__init__(folder)
        self.root = folder / 'ILSVRC'
        self.raw = dict(
            # Tubes count from 0: the second one here is number 1.
            tubes=[f'{PLANE},0', f'{ELEPHANT},0', f'{ELEPHANT},1'],
            said=[
                '1, A large elephant runs, from left to right ',
                '2, the bird is flying',
            ],
            tracks={
                f'val/{ELEPHANT}': [
                    track('0'),
                    track('1', [4, 5, 6, 9, 10], 'bird'),
                ],
                f'val/{PLANE}': [track('0', range(3, 9), 'airplane')],
            },
        )

    def files(self):
        lists = f'ILSVRC/Data/VID/annSamples/{self.split}'
        return {
            f'{lists}_valid_list.txt': '\n'.join(self.raw['tubes']) + '\n',
            f'{lists}_ann_list_v2.txt': '\n'.join(self.raw['said']) + '\n',
            **{
                f'ILSVRC/Annotations/VID/tubeGt/{name}.js': dict(
                    video=name.split('/')[-1], annotations=tracks
                )
                for name, tracks in self.raw['tracks'].items()
            },
        }

    def run(self, out, **options):
        return convert_vid_sentence(self.root, out, self.split, **options)

    def pictures(self, draw, name=f'val/{ELEPHANT}', count=25, **options):
        folder = self.folder / 'VID' / name
        folder.mkdir(parents=True)
        for number in range(count):
            path = str(folder / f'{number:06d}.JPEG')
            image = draw(number, **options)[..., ::-1]
            assert cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 98])
        return self.folder / 'VID'


# An annotation file written by hand ------------------------------------------

BOX = [1, 2, 11, 22]


def query(**changes):
    asked = dict(
        query_id='7',
        text='a dog runs',
        type='declarative',
        span=[2, 5],
        track_id='0',
    )
    return {**asked, **changes}


def written(**metainfo):
    """A file written by hand, boxes in the JSON."""
    about = dict(format='hero_mm/1', dataset='toy', split='test')
    video = dict(path='a.mp4', frame_count=10, fps=5, width=64, height=48)
    boxes = {str(frame): BOX for frame in (2, 3, 4, 7)}
    tracks = {'0': dict(category='dog', boxes=boxes)}
    return dict(
        metainfo={**about, **metainfo},
        videos=dict(v={**video, 'tracks': tracks}),
        data_list=[dict(video_id='v', segment=[1, 9], queries=[query()])],
    )


class ByHand(Case):
    """No raw file: what a converter would write."""

    name = 'hand.json'

    def __init__(self, folder):
        super().__init__(folder)
        self.raw = copy.deepcopy(written())

    def convert(self, **unused):
        self.write()
        return load_annotation(self.path), SimpleNamespace(skipped=[])


CASES = dict(
    vidstg=VidSTG,
    hcstvg=HCSTVG,
    vid_sentence=VIDSentence,
)
