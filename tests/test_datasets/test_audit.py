"""What is wrong in an annotation that can be read, alone and with videos."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.audit import (
    ERRORS,
    NOTES,
    audit_annotation,
    audit_videos,
)
from hero_mm.datasets.tracks import Track
from hero_mm.datasets.video_facts import VideoCheck


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/check_dataset')


@pytest.fixture
def own(toy, tmp_path):
    """A copy of the toy data set that a test may spoil."""
    own = tmp_path / 'own'
    shutil.copytree(toy, own)
    raw = json.loads((own / 'ann.json').read_text())
    for clip in raw['data_list'][1::2]:
        # Else both sentences of the clip were the same.
        clip['queries'][1]['text'] = 'the child kicks it.'
    (own / 'ann.json').write_text(json.dumps(raw))
    return own


@pytest.fixture
def annotation(own):
    """Three videos of 24 frames, 64 x 48; five sentences each."""
    return load_annotation(own / 'ann.json')


def kinds(findings):
    return [finding.kind for finding in findings]


def with_track(annotation, boxes, frames, category='cat'):
    """Give the first video a track of its own."""
    track = Track.from_boxes(category, frames, boxes)
    annotation.videos['v0'].tracks['9'] = track
    return annotation


class TestAnnotation:
    def test_gaps_are_noted(self, annotation):
        # The ball is hidden on frames 9, 10, 11 of [6, 14).
        found = list(audit_annotation(annotation))
        assert kinds(found) == ['gap'] * 3
        assert found[0].where == "query '1' of video 'v0'"
        assert found[0].found == '3 of 8, first 9'
        assert not found[0].is_error

    def test_boxes_outside_are_errors(self, annotation):
        boxes = [[0, 0, 9, 9], [64, 0, 70, 9], [-8, -8, 0, 5]]
        found = list(
            audit_annotation(with_track(annotation, boxes, [3, 4, 6]))
        )
        assert kinds(found)[:1] == ['outside'] and found[0].is_error
        assert found[0].where == "video 'v0', track '9'"
        assert found[0].found == (
            '2 boxes, first on frame 4: [64, 0, 70, 9] in 64x48'
        )

    def test_boxes_in_shares_are_errors(self, annotation):
        for video in annotation.videos.values():
            for track_id in video.tracks:
                frames = np.arange(24)
                boxes = np.stack([frames, 0 * frames, frames + 9, frames + 9])
                shares = boxes.T / 64
                track = Track.from_boxes('cat', frames, shares)
                video.tracks[track_id] = track
        found = list(audit_annotation(annotation))
        assert kinds(found) == ['shares'] * 3 and found[0].is_error

    def test_left_top_width_height_is_an_error(self, annotation):
        frames = np.arange(24)
        for video in annotation.videos.values():
            for number, track_id in enumerate(video.tracks):
                boxes = np.stack(
                    [frames, frames / 2, 0 * frames + 40, 0 * frames + 30], 1
                )
                if number:
                    # Some objects do not move.
                    boxes[:, :2] = 3
                video.tracks[track_id] = Track.from_boxes('c', frames, boxes)
        found = list(audit_annotation(annotation))
        assert kinds(found) == [] and not any(f.is_error for f in found)
        for video in annotation.videos.values():
            boxes = video.rows('0')
            boxes[:, :2] = np.stack([1.5 * frames, frames], 1)
            boxes[:, 2:] = [45, 40]
        found = list(audit_annotation(annotation))
        assert kinds(found) == ['sides'] and found[0].is_error
        assert 'in 3 of 3 videos' in found[0].found
        for video in annotation.videos.values():
            video.rows('0')[:, 2:] += np.stack([1.5 * frames, frames], 1)
        assert 'sides' not in kinds(audit_annotation(annotation))

    def test_boxes_on_key_frames_alone_are_errors(self, annotation):
        frames = [0, 5, 10, 15, 20]
        boxes = [[frame, 0, frame + 9, 9] for frame in frames]
        found = list(audit_annotation(with_track(annotation, boxes, frames)))
        (keys,) = [f for f in found if f.kind == 'keys']
        assert keys.is_error and '5 boxes, one every 5 frames' in keys.found
        whole = Track.from_key_frames('cat', frames, boxes)
        annotation.videos['v0'].tracks['9'] = whole
        assert 'keys' not in kinds(audit_annotation(annotation))

    def test_boxes_that_leave_in_part_are_notes(self, annotation):
        boxes = [[-1, 0, 65, 49], [-2, 0, 9, 9], [60, 40, 64, 50]]
        found = list(
            audit_annotation(with_track(annotation, boxes, [3, 4, 5]))
        )
        # One pixel is allowed for.
        assert kinds(found)[:2] == ['over', 'gap']
        assert found[0].found.startswith('2 boxes, first on frame 4:')

    def test_empty_tracks_and_categories(self, annotation):
        videos = annotation.videos
        videos['v0'].tracks['8'] = Track('cat', np.zeros((0, 3), np.int64))
        videos['v1'].tracks['0'].category = ''
        for clip in annotation.data_list[2:4]:
            for query in clip['queries']:
                query.pop('category')
        found = [f for f in audit_annotation(annotation) if f.kind != 'gap']
        assert kinds(found)[:2] == ['empty', 'category']
        assert found[1].where == "video 'v1', track '0'"
        # Query 6 is about track 1, which has a category.
        told = [f.where.split("'")[1] for f in found[2:]]
        assert told == ['5', '7', '8', '9']

    def test_videos_without_a_sentence(self, annotation):
        del annotation.data_list[4:]
        found = [f for f in audit_annotation(annotation) if f.kind != 'gap']
        assert kinds(found) == ['unused'] and "'v2'" in found[0].where

    def test_one_text_with_two_truths(self, annotation):
        clip = annotation.data_list[0]
        again = copy.deepcopy(clip['queries'][0])
        again.update(query_id='x', text=again['text'].upper())
        clip['queries'].append(again)
        found = [f for f in audit_annotation(annotation) if f.kind != 'gap']
        assert kinds(found) == ['twice']
        assert found[0].found.endswith("queries '0', 'x'")
        again['span'] = [4, 11]
        found = [f for f in audit_annotation(annotation) if f.kind != 'gap']
        assert kinds(found) == ['truths']
        again.update(span=[4, 10], track_id='1')
        assert 'truths' in kinds(audit_annotation(annotation))

    def test_one_text_of_two_clips_is_no_duplicate(self, annotation):
        # '0' and '3' say the same of [0, 24) and of [4, 16).
        texts = [c['queries'][0]['text'] for c in annotation.data_list[:2]]
        assert texts[0] == texts[1]
        found = kinds(audit_annotation(annotation))
        assert 'twice' not in found and 'truths' not in found


class TestVideos:
    def test_whole_videos_are_in_order(self, annotation, toy):
        assert not list(audit_videos(annotation, VideoCheck(toy / 'video')))

    def test_missing_and_broken_files(self, annotation, own):
        (own / 'video' / 'v0.mp4').unlink()
        (own / 'video' / 'v1.mp4').write_bytes(b'no video')
        found = list(audit_videos(annotation, VideoCheck(own / 'video')))
        assert kinds(found) == ['missing', 'broken']
        assert found[0].found == 'no file v0.mp4'
        assert 'v1.mp4' in found[1].found
        assert all(finding.is_error for finding in found)

    @pytest.mark.parametrize(
        ('count', 'expected'),
        [(23, ['length', 'beyond']), (48, ['cut'])],
    )
    def test_other_lengths(self, annotation, own, toy_tools, count, expected):
        toy_tools.write_video(own / 'video' / 'v2.mp4', count)
        found = list(audit_videos(annotation, VideoCheck(own / 'video')))
        assert kinds(found) == expected
        assert found[0].found == f'{count} frames, annotated 24'
        if 'beyond' in expected:
            assert found[1].found.endswith(
                'segments go to frame 23 and tracks to frame 23'
            )

    def test_a_shorter_video_may_hold_all_that_is_told(
        self, annotation, own, toy_tools
    ):
        video = annotation.videos['v2']
        annotation.videos['v2'] = replace(video, frame_count=25)
        found = list(audit_videos(annotation, VideoCheck(own / 'video')))
        assert kinds(found) == ['length']

    def test_other_rates_and_sizes(self, annotation, own, toy_tools):
        videos = own / 'video'
        toy_tools.write_video(videos / 'v0.mp4', fps=10)
        toy_tools.write_video(videos / 'v2.mp4', size=(64, 64))
        found = list(audit_videos(annotation, VideoCheck(videos)))
        assert kinds(found) == ['fps', 'aspect']
        assert [f.is_error for f in found] == [False, True]

    def test_what_was_looked_at_is_kept(self, annotation, own, tmp_path):
        state = tmp_path / 'state.jsonl'
        check = VideoCheck(own / 'video', state)
        assert not list(audit_videos(annotation, check))
        lines = state.read_text().splitlines()
        assert sorted(json.loads(line)['path'] for line in lines) == [
            'v0.mp4',
            'v1.mp4',
            'v2.mp4',
        ]
        before = state.read_text()
        assert not list(audit_videos(annotation, check))
        assert state.read_text() == before


def test_every_kind_has_a_level():
    assert not set(ERRORS) & set(NOTES)


class TestTool:
    def run(self, tool, own, *flags):
        words = [str(own / 'ann.json'), '--videos', str(own / 'video')]
        tool.main([*words, '--workers', '1', *flags])

    def test_counts_with_examples(self, tool, own, capsys):
        self.run(tool, own, '--show', '1')
        out = capsys.readouterr().out
        assert '3 videos, 15 sentences' in out
        assert f'note: 3 {NOTES["gap"]}' in out
        assert "query '1' of video 'v0'" in out and 'and 2 more' in out
        assert 'error' not in out
        assert (own / 'ann.videos.jsonl').is_file()

    def test_errors_come_first_and_fail(self, tool, own, capsys):
        (own / 'video' / 'v0.mp4').unlink()
        listed = own / 'out' / 'list.txt'
        with pytest.raises(ValueError, match='1 errors in .*ann.json'):
            self.run(tool, own, '--list', str(listed))
        out = capsys.readouterr().out
        assert out.index('error: 1 videos') < out.index('note: 3')
        lines = [line.split('\t') for line in listed.read_text().splitlines()]
        assert sorted(line[0] for line in lines) == ['gap'] * 3 + ['missing']

    def test_without_videos(self, tool, own, capsys):
        tool.main([str(own / 'ann.json')])
        assert 'not looked at' in capsys.readouterr().out

    def test_nothing_found(self, tool, own, capsys):
        raw = json.loads((own / 'ann.json').read_text())
        for clip in raw['data_list']:
            clip['queries'] = [
                query for query in clip['queries'] if query['track_id'] == '0'
            ]
        (own / 'ann.json').write_text(json.dumps(raw))
        self.run(tool, own)
        assert 'nothing found' in capsys.readouterr().out

    def test_flags_are_checked(self, tool, capsys):
        with pytest.raises(SystemExit):
            tool.parse_args(['a.json', '--workers', '0'])
        assert '--workers must be 1' in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('spoil', 'message'),
        [('video', 'v0.mp4: the file is empty'), ('span', 'span [4, 400]')],
    )
    def test_the_exit_status(self, run_tool, own, spoil, message):
        if spoil == 'video':
            (own / 'video' / 'v0.mp4').write_bytes(b'')
        else:
            raw = json.loads((own / 'ann.json').read_text())
            raw['data_list'][0]['queries'][0]['span'] = [4, 400]
            (own / 'ann.json').write_text(json.dumps(raw))
        words = [own / 'ann.json', '--videos', own / 'video', '--workers', 1]
        done = run_tool('analysis_tools/check_dataset', *words)
        assert done.returncode == 1
        assert message in done.stdout + done.stderr
