from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from demonstration_videos import FPS, FRAMES, TASK, pictures, write_demonstration
from numpy.typing import NDArray
from PIL import Image

from progress_monitor.adapt.annotation import Stage
from progress_monitor.adapt.contact_sheet import write_contact_sheet
from progress_monitor.adapt.draft import Draft, DraftError
from progress_monitor.adapt.import_videos import write_videos
from progress_monitor.adapt.proposal import Listed, from_list, from_motion
from progress_monitor.adapt.recording import Recording
from progress_monitor.offline.video import read_video, write_video


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstration(tmp_path_factory.mktemp('videos') / 'block.mp4')


@dataclass(frozen=True, eq=False)
class Seen:
    camera: str
    stamp_ns: int
    image: NDArray[np.uint8]


def shade(image: NDArray[np.uint8]) -> float:
    return float(image[2:6, 2:6].mean())


def test_any_frame_can_be_had_in_any_order(video: Path) -> None:
    with Recording([video]) as recording:
        assert (recording.frames, recording.fps) == (FRAMES, FPS)
        for frame in (50, 3, 67, 0):
            assert shade(recording.picture(0, frame)) == pytest.approx(frame * 3, abs=4)
        for camera, frame in ((0, FRAMES), (0, -1), (1, 0)):
            with pytest.raises(IndexError):
                recording.jpeg(camera, frame)


def test_cameras_of_other_rates_show_the_same_time(tmp_path: Path, video: Path) -> None:
    write_video(list(pictures())[::2], tmp_path / 'slow.mp4', FPS / 2)
    with Recording([video, tmp_path / 'slow.mp4']) as recording:
        for frame in (10, 40):
            assert shade(recording.picture(1, frame)) == pytest.approx(frame * 3, abs=4)


def test_a_frame_is_what_was_shown_at_its_time(tmp_path: Path) -> None:
    shots = [Image.new('L', (64, 64), number * 10) for number in range(20)]
    # Ten in a second, one that lasts 2 s, and the rest in another.
    lasting = [100] * 10 + [2000] + [100] * 9
    path = tmp_path / 'screen.gif'
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=lasting)
    with Recording([path]) as recording:
        assert recording.duration_s == pytest.approx(3.9, abs=0.15)
        assert not recording.even
        for seconds, shown in ((0.5, 5), (1.5, 10), (2.9, 10), (3.5, 15)):
            frame = round(seconds * recording.fps)
            assert shade(recording.picture(0, frame)) == pytest.approx(shown * 10, abs=3)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / 'notes.mp4').write_text('no video')
    with pytest.raises(OSError, match=r'notes\.mp4'):
        Recording([tmp_path / 'notes.mp4'])


def test_motion_is_cut_where_it_waits_and_turns(video: Path) -> None:
    with Recording([video]) as recording:
        assert 2 <= len(from_motion(recording)) <= 4
        stages = from_motion(recording, stages=2)
        assert len(stages) == 2
        assert stages[0].start_s == pytest.approx(1.0, abs=0.3)
        assert stages[0].end_s == stages[1].start_s
        assert 2.8 <= stages[0].end_s <= 4.0
        assert stages[1].end_s == pytest.approx(5.8, abs=0.4)
        assert [stage.text for stage in stages] == ['', '']
        assert len(from_motion(recording, stages=1)) == 1


def test_a_recording_without_motion_is_one_stage(tmp_path: Path) -> None:
    still = next(pictures())
    write_video([still] * 30, tmp_path / 'still.mp4', FPS)
    with Recording([tmp_path / 'still.mp4']) as recording:
        (stage,) = from_motion(recording)
        assert (stage.start_s, stage.end_s) == (0.0, 3.0)


def test_the_models_list_names_stages_and_motion_places_them(video: Path) -> None:
    listed = [
        Listed(0.5, ()),
        *(Listed(0.5 + 0.5 * i, ('push right', 'push  down.')) for i in range(6)),
        *(Listed(3.5 + 0.5 * i, ('push down',)) for i in range(4)),
    ]
    with Recording([video]) as recording:
        first, second = from_list(recording, listed)
        assert (first.text, second.text) == ('push right', 'push down')
        assert first.why.startswith('model, ') and 2.8 <= first.end_s <= 4.0
        # Never seen to end: cut by the motion, and said so.
        first, second = from_list(recording, listed[:7])
        assert 2.8 <= first.end_s <= 4.0 and not first.why.startswith('model')
        stages = from_list(recording, [Listed(0.5, ('a', 'b', 'c', 'd', 'e'))])
        assert [stage.text for stage in stages] == ['a', 'b', 'c', 'd', 'e']
        assert stages[0].why == 'evenly divided'
        with pytest.raises(ValueError, match='lists no steps'):
            from_list(recording, [Listed(0.5, ())])


def test_pictures_with_stamps_become_videos_of_one_time_line(tmp_path: Path) -> None:
    seen = []
    for number, image in enumerate(pictures()):
        # The second camera starts late, is slower and once changes its size.
        seen.append(Seen('/front/image', 5_000_000_000 + number * 100_000_000, image))
        if number >= 20 and number % 2 == 0:
            shown = image if number < 40 else np.asarray(cv2.resize(image, (80, 60)), np.uint8)
            seen.append(Seen('/wrist/image', 5_000_000_000 + number * 100_000_000, shown))
    front, wrist = write_videos(seen, FPS, tmp_path, 'demo')
    assert (front.name, wrist.name) == ('demo_front_image.mp4', 'demo_wrist_image.mp4')
    frames = [image for _, _, image in read_video(front)]
    late = [image for _, _, image in read_video(wrist)]
    assert len(frames) == len(late) == FRAMES
    assert shade(frames[50]) == pytest.approx(150, abs=4)
    assert [shade(late[i]) for i in (5, 30, 31)] == pytest.approx([60, 90, 90], abs=4)
    with pytest.raises(OSError, match='stamps reach over'):
        write_videos([seen[0], Seen('/front/image', 10**17, seen[0].image)], FPS, tmp_path, 'gap')
    with pytest.raises(OSError, match='not a single picture'):
        write_videos([], FPS, tmp_path, 'none')


def test_a_draft_stays_consistent() -> None:
    draft = Draft(TASK, 6.8, FPS)
    draft.name(1, 'whole')
    assert draft.cut(3.0) == 2
    draft.move(0, 1.0)
    draft.move(2, 5.8)
    draft.move(1, 3.44)
    assert draft.stages == (('whole', 1.0, 3.4), ('', 3.4, 5.8))
    for bad in (
        lambda: draft.cut(3.4),
        lambda: draft.cut(6.5),
        lambda: draft.move(1, 0.9),
        lambda: draft.move(2, 7.5),
        lambda: draft.move(3, 6.0),
        lambda: draft.merge(2),
        lambda: draft.name(3, 'x'),
    ):
        before = draft.entry()
        with pytest.raises(DraftError):
            bad()
        assert draft.entry() == before
    draft.merge(1)
    assert draft.stages == (('whole', 1.0, 5.8),)


def test_a_contact_sheet_has_a_row_for_each_stage(tmp_path: Path, video: Path) -> None:
    with Recording([video, video]) as recording:
        one, two = tmp_path / 'one.png', tmp_path / 'two.png'
        write_contact_sheet(recording, [Stage('a', 0.0, 6.8)], 'done', one)
        stages = [Stage('a', 0.0, 3.0), Stage('b' * 300, 3.0, 5.0)]
        write_contact_sheet(recording, stages, 'done', two)
    heights = [cv2.imread(str(path)).shape[0] for path in (one, two)]
    assert heights[1] - heights[0] == pytest.approx(2 * heights[0], abs=12)
