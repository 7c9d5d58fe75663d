"""What raw files must not hold: refused in words, or left out and listed."""

import pytest
from test_datasets import raw_files as made

from hero_mm.datasets.converters import ConversionError
from hero_mm.datasets.entries import AnnotationError

PLACES = dict(
    SAID='E 0 captions 0',
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
        ('E 1', made.entry('99'), r"vid '99': no 99.json in .*\(1 files", 3),
        (
            'E 1',
            made.entry(segment=(2, 7), truth=(3, 9)),
            r'entry 1 .* span \[3, 9\] is empty or outside .* \[2, 8',
            3,
        ),
        ('SAID target_id', 7, r"track id '7', the video has \['0', '2'\]", 2),
        ('SAID target_id', ..., "key 'target_id' is missing", 2),
        ('E 1', made.entry(used_relation={}), "1.*key 'predicate' is mis", 3),
        (
            'E 1',
            made.entry(truth=(4, 10**30)),
            'temporal_gt, end_fid: expected a whole number up to 10,000,000',
            3,
        ),
        ('V fps', 0, 'fps: expected a number from 0.001 on, found 0'),
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
        ('ONE', 3, 'expected an object, found int', 1),
        ('ONE st_frame', 0, 'st_frame: expected a number from 1 on', 1),
        ('ONE bbox', [], 'test split of version 2 are not public', 1),
        ('ONE bbox', [[500, 4, 2, 9]] * 9, 'frame 156, .*no area in the', 1),
        ('ONE ed_frame', 100, 'ed_frame: expected a number from 157 on', 1),
        ('ONE img_size', [480], "img_size: key 'width' is missing", 1),
        ('ONE English', None, 'English: expected text, found', 1),
    ],
    vid_sentence=[
        ('said 2', '3, a dog', r"line 3: .* one of 3 tubes .*'3, a dog'", 2),
        ('tubes 2', made.ELEPHANT, 'line 2: expected the number of one', 1),
        (
            'tubes 2',
            f'{made.ELEPHANT},7',
            r"unknown track id '7', the video has \['0', '1'\]",
            1,
        ),
        (
            'ELEPHANT 0 track 4 bbox',
            [9, 9, 9, 20],
            rf'{made.ELEPHANT}.js, frame 4, id 0: box \[9, 9, 9, 20\]',
            2,
        ),
        ('ELEPHANT 0 track 0 frame', 2, 'id 0: no boxes, two boxes on one'),
        (
            'ELEPHANT 0 track 5 frame_size',
            [48, 60],
            r'id 0, frame 6, .*height are \(60, 48\), on other .*\(64, 48\)',
        ),
        ('ELEPHANT 0 id', '1', 'id 1: .*or two tracks of this id'),
    ],
)


def make(kind, folder):
    """A case with more sentences than one, so that some may be left."""
    case = made.CASES.get(kind, made.ByHand)(folder)
    if kind == 'hcstvg':
        case.raw[made.TWO] = made.first_version()
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
        *('relation/begin_fid', 'relation/end_fid'),
        *('relation/subject_tid', 'relation/object_tid'),
        *('instances/begin_fid', 'instances/end_fid'),
        *('E', 'V', 'E/captions', 'E/questions'),
        *('V/relation_instances', 'V/subject/objects', 'V/trajectories'),
    ),
    hcstvg=(),
    vid_sentence=('class', 'generated'),
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
