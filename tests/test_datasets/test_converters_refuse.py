"""What raw files must not hold: refused in words, or left out and listed."""

import pytest
from test_datasets import raw_files as made

from hero_mm.datasets.converters import ConversionError
from hero_mm.datasets.entries import AnnotationError

PLACES = dict(
    SAID='E 0 captions 0',
    FIRST='videos 0',
    TRACK='trajectories 11 0',
    ONE=made.ONE,
    ELEPHANT=f'tracks val/{made.ELEPHANT}',
)
# Where, what stands there (nothing: ...), what the error says, and sentences
# left with skip_bad, where such a thing may be left out.
BAD = dict(
    vidstg=[
        (
            'V trajectories 7',
            [made.box(7, 0, xmax=7), made.box(7, 2)],
            r'11.json, frame 7, tid 0: box \[7, 3, 7, 30\].*xmax <= xmin',
            3,
        ),
        (
            'V trajectories 7',
            [made.box(70, 0), made.box(7, 2)],
            r'frame 7, tid 0: box \[70, 3, 80, 30\] .* or outside',
            3,
        ),
        (
            'E 1',
            made.entry('99'),
            r"vid '99': no 99.json in .*vidor or below \(1 files",
            3,
        ),
        (
            'SAID description',
            ' ',
            r"entry 0 \(vid '11'\): the sentence .description. is empty",
            2,
        ),
        (
            'SAID target_id',
            7,
            r"target_id: unknown track id '7'; VidOR has boxes for \['0', '2",
            2,
        ),
        (
            'E 1',
            made.entry(segment=(2, 7), truth=(3, 9)),
            r'entry 1 .*temporal_gt: \[3, 9\) is empty or outside .* \[2, 8',
            3,
        ),
        ('E 1', made.entry(segment=(9, 4)), r'used_segment: \[9, 4\] is e', 3),
        ('SAID target_id', ..., "key 'target_id' is missing", 2),
        (
            'E 1',
            made.entry(used_relation={}),
            "entry 1.*key 'predicate' is missing",
            3,
        ),
        ('SAID description', None, 'description: expected text, found Non', 2),
        ('E 0 captions 0', 3, 'entry 0.*: expected an object, found int', 2),
        (
            'E 1',
            made.entry(truth=(4, 10**30)),
            'temporal_gt, end_fid: expected a whole number up to 10,000,000',
            3,
        ),
        ('E 0 temporal_gt', ..., "entry 0: key 'temporal_gt' .*'captions'"),
        ('E 0', 3, 'entry 0: expected an object, found int'),
        ('E 0 vid', None, 'entry 0, vid: expected text or a whole number'),
        (
            'E 0 temporal_gt end_fid',
            8.5,
            'temporal_gt, end_fid: expected a whole number, found 8.5',
        ),
        ('V subject/objects', 3, '11.json, top level, subject/objects: exp'),
        (
            'V relation_instances 1 predicate',
            None,
            r'relation_instances\[1\], predicate: expected text, found None',
        ),
        (
            'V trajectories 3 2',
            made.box(3, 'x'),
            "11.json, frame 3: a tid must be .* like the others, found 'x'",
        ),
        ('V width', '64', "width: expected a number from 1 on, found '64'"),
        ('V fps', 0, 'fps: expected a number from 0.001 on, found 0'),
        ('V trajectories', {'0': []}, 'trajectories: expected a list, found'),
        ('V trajectories 3', None, 'frame 3: expected a list, found NoneType'),
        (
            'V trajectories 3',
            [made.box(3, 0, xmin='3')],
            "11.json, frame 3, tid 0: a box is four numbers, found .'3', 3",
        ),
        (
            'V trajectories 4 0 bbox ymin',
            ...,
            '11.json, frame 4: a box needs tid and bbox with xmin, ymin',
        ),
        (
            'V trajectories 4 2',
            made.box(4, 0),
            'frame 4, tid 0: two boxes for one object',
        ),
    ],
    hcstvg=[
        ('ONE st_frame', 0, 'st_frame: expected a number from 1 on', 1),
        ('ONE st_frame', 1.5, 'expected a whole number', 1),
        ('ONE st_frame', 10**30, 'st_frame: expected .*10,000,000', 1),
        ('ONE width', 'wide', "width: expected a number.*'wide'", 1),
        ('ONE bbox', [], 'test split of version 2 are not public', 1),
        ('ONE bbox', None, 'expected a list of boxes, found None', 1),
        (
            'ONE bbox',
            [[1, 2, 3]] * 9,
            r'frame 156, .*a box is four numbers, found \[1, 2, 3\]',
            1,
        ),
        ('ONE bbox', [[4, 4, 0, 9]] * 9, 'frame 156, .*has no area in the', 1),
        ('ONE bbox', [[500, 4, 2, 9]] * 9, 'frame 156, .*no area in the', 1),
        ('ONE ed_frame', 100, 'ed_frame 100 is before st_frame 157', 1),
        ('ONE img_size', [480], r'expected \[height, width\]', 1),
        ('ONE caption', ' ', r'the caption.* is empty', 1),
        ('ONE English', None, 'English: expected text, found', 1),
        ('ONE st_time', 'now', 'st_time: expected a number', 1),
    ],
    tubedetr=[
        (
            'FIRST qtype',
            'inter',
            r"videos\[0\] \(video '11'\), qtype: .* found 'inter'",
            2,
        ),
        ('FIRST end_frame', ..., "key 'end_frame' is missing", 2),
        ('FIRST caption', ' ', 'the sentence .caption. is empty', 2),
        (
            'videos 3',
            made.caption(3, original_video_id='12'),
            "trajectories, video '12': is missing",
            3,
        ),
        (
            'TRACK 6',
            made.trajectory([6], 64)['6'],
            r"frame 6, video '11', track 0: box \[64, 5, 74, 25\]",
            3,
        ),
        (
            'videos 3',
            made.caption(3, frame_count=21),
            r'videos\[3\].* are \(21, 10.0, 64, 48, .* earlier sentence \(20,',
        ),
        (
            'FIRST video_id',
            2,
            r'videos\[2\]: video_id 2 is already that of videos\[0\]',
        ),
        ('FIRST caption', ..., r"videos\[0\]: key 'caption' is missing"),
        ('videos', {}, 'videos: expected a list, found dict'),
        ('trajectories', ..., "with 'videos' and 'trajectories' .*, found di"),
        ('TRACK x', dict(bbox=[1, 2, 3, 4]), "track 0: frame 'x' is no num"),
        ('TRACK -1', dict(bbox=[1, 2, 3, 4]), 'track 0: a frame below 0'),
        ('TRACK 07', dict(bbox=[1, 2, 3, 4]), 'one that is twice'),
        (
            f'TRACK {10**30}',
            dict(bbox=[1, 2, 3, 4]),
            'track 0: a frame below 0 or above 10000000',
        ),
        (
            'TRACK 7 bbox',
            [1, 2, 3],
            "frame 7, video '11', track 0: a box is four numbers",
        ),
        ('TRACK', [1], r'track 0: expected frames and boxes, found \[1\]'),
        ('trajectories 11', 3, "video '11': expected an object, found int"),
    ],
    persons=[
        (f'2 {place}', value, message, 2)
        for place, value, message in [
            ('tube_start_frame', 0, r'entries\[2\].*_frame: .* from 1 on, f'),
            ('trajectory', [], r'trajectory: expected a list of boxes'),
            ('trajectory', [[1, 2, 0, 4]], r'frame 4, .* \[1, 2, 1, 6\]'),
            ('trajectory', [[1, 2, 4]], 'frame 4, .* a box is four numbers'),
            ('frame_count', 0, 'frame_count: expected a number from 1 on'),
            ('caption', '', 'the sentence .caption. is empty'),
            ('height', 47, 'frame_count, fps, width, height'),
        ]
    ],
    vid_sentence=[
        (
            'said 2',
            '3, a dog',
            r"test_ann_list_v2.txt, line 3: .* below 3, found '3, a dog'",
            2,
        ),
        ('said 2', 'a dog', 'line 3: expected "number,sentence"', 2),
        (
            'said 2',
            '0, ',
            r'sentence 0 \(video .*\): the sentence .* is em',
            2,
        ),
        (
            'tubes 2',
            f'{made.ELEPHANT},7',
            r"no boxes for the track id '7'; its video has \['0', '1'\]",
            1,
        ),
        (
            'ELEPHANT 0 track 4 bbox',
            [9, 9, 9, 20],
            rf'{made.ELEPHANT}.js, frame 4, id 0: box \[9, 9, 9, 20\]',
            2,
        ),
        ('tubes 3', made.ELEPHANT, 'valid_list.txt, line 4: expected "video,'),
        ('ELEPHANT 0 track 0 frame', 2, 'id 0: two boxes on one frame'),
        (
            'ELEPHANT 0 track 5 frame_size',
            [48, 60],
            r'id 0, frame 6: width and height are \(60, 48\), on other .*64',
        ),
        (
            'ELEPHANT 0 track 5 frame_size',
            48,
            r'frame_size: expected \[height, width\], found 48',
        ),
        ('ELEPHANT 0 track', [], 'id 0: a track without boxes'),
        ('ELEPHANT', 3, '.js, top level, annotations: expected a list'),
        ('ELEPHANT 0 id', '1', 'id 1: stands there twice'),
        ('ELEPHANT 0 track 5 bbox', ..., "id 0: key 'bbox' is missing"),
    ],
)


def make(kind, folder):
    """A case with more sentences than one, so that some may be left."""
    case = made.CASES.get(kind, made.ByHand)(folder)
    if kind == 'hcstvg':
        case.raw[made.TWO] = made.first_version()
    if kind == 'persons':
        case.raw.append(made.person(2))
    return case


@pytest.mark.parametrize(
    ('kind', 'row'),
    [(kind, row) for kind, rows in BAD.items() for row in rows],
)
def test_bad_values_are_named_or_skipped(tmp_path, put, kind, row):
    case, (place, value, message, *left) = make(kind, tmp_path), row
    first, _, rest = place.partition(' ')
    put(case.raw, f'{PLACES.get(first, first)} {rest}', value)
    with pytest.raises(ConversionError, match=message) as caught:
        case.convert()
    assert 'Cure: ' in str(caught.value)
    assert not (case.folder / 'out').exists()
    if left:
        annotation, summary = case.convert(skip_bad=True)
        assert [len(annotation.ground_truths())] == left
        assert summary.skipped and sum(summary.sentences.values()) == left[0]
        # What is dropped is not counted as cut.
        assert 'boxes cut to the picture' not in summary.notes


def places_of(raw, path=()):
    """Places in a JSON; of a list the first and the last."""
    if isinstance(raw, dict):
        keys = list(raw)
    else:
        keys = {0, len(raw) - 1} if isinstance(raw, list) and raw else ()
    for key in keys:
        yield (*path, key)
        yield from places_of(raw[key], (*path, key))


# What is not read, or may be null or empty; all else may not.
FREE = dict(
    vidstg=(
        *('generated', 'tracker', 'type', 'video_id', 'video_path'),
        *(f'E/{key}' for key in ('fps', 'frame_count', 'width', 'height')),
        *('E/subject/objects', 'E/subject/objects/category'),
        *('E/subject/objects/tid', 'relation/begin_fid', 'relation/end_fid'),
        *('relation/subject_tid', 'relation/object_tid'),
        *('instances/begin_fid', 'instances/end_fid'),
        *('E', 'V', 'E/captions', 'E/questions'),
        *('V/relation_instances', 'V/subject/objects', 'V/trajectories'),
    ),
    hcstvg=(),
    tubedetr=('generated', 'tracker', 'category_id', 'type'),
    persons=('tube_start_time', 'tube_end_time'),
    vid_sentence=('class_index', 'generated', 'name', 'occluded', 'class'),
    annotation=('metainfo/dataset', 'metainfo/split'),
)


@pytest.mark.parametrize('value', [..., None, 'x', [], 10**30], ids=repr)
@pytest.mark.parametrize('kind', [*made.CASES, 'annotation'])
def test_whatever_stands_there_is_read_or_refused_in_words(
    tmp_path, put, kind, value, monkeypatch
):
    """Any value at any place; nothing else is raised."""
    monkeypatch.setattr('hero_mm.files._flush', lambda path: None)
    for number, place in enumerate(places_of(make(kind, tmp_path).values)):
        case = make(kind, tmp_path)
        put(case.values, ' '.join(map(str, place)), value)
        name = '/'.join(key for key in place if isinstance(key, str))
        try:
            _, summary = case.convert(skip_bad=number % 2 == 0)
            refused = value not in (None, []) or summary.skipped
            assert refused or name.endswith(FREE[kind]), place
        except AnnotationError as error:
            assert str(tmp_path) in str(error) and 'Cure: ' in str(error)
        except Exception as error:
            raise AssertionError(f'{place}: {error!r}') from error
