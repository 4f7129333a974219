"""Explained clips: frames in order, a bar for every method under each, the strongest marked, on any width and in the PNG."""

import base64
import io
import itertools
import re

import numpy as np
import pytest
import report_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import BadData
from pellucid.explained import Explained
from pellucid.report import film, page, picture, words
from pellucid.report.number import MINUS

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40)


def source(grey: int = 0, size=(32, 18), kind: str = "png") -> str:
    into = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), grey, dtype=np.uint8)).save(into, kind)
    return f"data:image/{kind};base64,{base64.b64encode(into.getvalue()).decode()}"


def frames(count: int) -> list[dict]:
    """Each of its own grey."""
    return [{"src": source(5 * (t % 50)), "name": f"{0.4 * t:.2f} s"} for t in range(count)]


def clip(methods, count=4, answer="surfing", **more):
    """The record of one clip."""
    shown = frames(count)
    told = {
        name: {"relevance": values, "checks": {"deletion": 0.25}, "degradation": report_run.degradation(0.0)}
        for name, values in methods.items()
    }
    head = {"set": "home", "id": "wave.mp4", "prediction": "surfing", "label": "surfing", "answer": answer, "score": -0.1}
    return head | {"words": [frame["name"] for frame in shown], "methods": told, "film": shown} | more


def explanations(*rows):
    return {"site": "input", "score_unit": "log-probability", "examples": list(rows)}


TWO = {"iba": [1.0, 4.0, 0.0, 2.0], "occlusion": [-0.2, 0.1, 0.0, None]}


def viewed(methods, count=4):
    row = clip(methods, count)
    return film.view(row["film"], row["methods"], "here")


# ---- bars -------------------------------------------------------------------------------------------------------------


def test_a_bar_is_a_share_of_its_methods_strongest_with_the_sign_s_colour_and_the_three_strongest_have_ranks():
    found = viewed(TWO)
    assert found.rows == (("IBA", False), ("occlusion", True))
    iba, occlusion = zip(*(frame.bars for frame in found.frames), strict=True)
    assert [(bar.sign, bar.share, bar.rank) for bar in iba] == [("pos", 0.25, 3), ("pos", 1.0, 1), ("", 0.0, 0), ("pos", 0.5, 2)]
    assert [(bar.sign, bar.share, bar.rank) for bar in occlusion] == [("neg", 1.0, 1), ("pos", 0.5, 2), ("", 0.0, 0), ("", 0.0, 0)]
    assert [frame.marked for frame in found.frames] == [True, True, False, False]


@given(numbers)
def test_turning_every_sign_turns_every_bar_and_no_height(relevance):
    there, back = (viewed({"a": values}, len(relevance)).frames for values in (relevance, [-r for r in relevance]))
    turned = {"pos": "neg", "neg": "pos", "": ""}
    assert [(turned[f.bars[0].sign], f.bars[0].share, f.marked) for f in there] == [
        (f.bars[0].sign, f.bars[0].share, f.marked) for f in back
    ]
    assert all((bar.share > 0) == bool(bar.sign) for frame in there for bar in frame.bars)


def test_where_all_frames_weigh_alike_none_is_the_strongest():
    found = viewed({"attention": [0.25] * 4})
    assert [frame.bars[0] for frame in found.frames] == [film.Bar("pos", 1.0)] * 4
    assert not any(frame.marked for frame in found.frames) and "No frame is the strongest by attention" in found.spoken


def test_who_cannot_see_the_strip_hears_its_span_its_strongest_frames_and_every_number():
    found = viewed(TWO)
    strongest = f"Strongest by IBA: 0.40 s 4.0, 1.20 s 2.0, 0.00 s 1.0. Strongest by occlusion: 0.00 s {MINUS}0.20, 0.40 s 0.10."
    assert found.spoken == f"4 frames from 0.00 s to 1.20 s. {strongest}"
    assert [frame.told for frame in found.frames][::3] == [f"0.00 s: IBA 1.0, occlusion {MINUS}0.20", "1.20 s: IBA 2.0, occlusion n/a"]
    assert viewed({"iba": [1.0]}, 1).spoken.startswith("One frame, 0.00 s.")


@pytest.mark.parametrize("count", [1, 8, 9, 13, 25, 36, 37, 64, 100])
def test_parts_are_all_frames_in_order_and_leave_less_than_a_part_and_a_half_of_the_last_line_free(count):
    found = viewed({"iba": list(range(count))}, count)
    assert [frame for part in found.parts for frame in part] == list(found.frames)
    assert {len(part) for part in found.parts[:-1]} <= {found.part}
    assert count <= 9 or -count % found.across <= 8
    assert found.size == ("few" if count <= 8 else "dense" if count > 36 else "")


def test_numbers_that_fit_no_frames_and_frames_that_are_no_pictures_are_refused():
    row = clip({"iba": [1.0, 2.0]})
    with pytest.raises(BadData, match=r"here, method 'iba': 2 numbers for 4 frames; explain it again"):
        film.view(row["film"], row["methods"], "here")
    bad = {"src": "https://example.org/x.png", "name": "0.00 s"}
    with pytest.raises(BadData, match=r"here: its frame '0.00 s' is no PNG or JPEG"):
        film.view([bad], {}, "here")
    with pytest.raises(BadData, match=r"film\[0\]\.name"):
        page.explanations(explanations(clip({}, film=[{"src": source()}])))


# ---- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_every_frame_once_in_order_with_its_time_and_its_numbers():
    text = page.explanations(explanations(clip(TWO)))
    shown = re.findall(r'<img[^>]* src="(data:[^"]+)" alt="([^"]+)"><span class="at"[^>]*>([^<]+)</span>', text)
    assert [(src, name) for src, _, name in shown] == [(frame["src"], frame["name"]) for frame in frames(4)]
    assert shown[1][1] == "0.40 s: IBA 4.0, occlusion 0.10"
    assert text.count('<li class="marked"') == 2
    assert re.findall(r'<i class="(\w+)" style="--s:([\d.]+)">(\d?)</i>', text)[:2] == [("pos", "0.25", "3"), ("neg", "1.0", "1")]


def test_the_page_of_clips_speaks_of_frames_and_colours_no_times_as_words():
    text = page.explanations(explanations(clip(TWO)))
    assert "area between the curves as the least and as the most relevant frames are taken out" in text
    assert "Below a frame every" in " ".join(text.split())
    assert "most relevant frames removed first" in text and 'class="words"' not in text and "Each word is coloured" not in text
    assert "area <b" in text and 'class="tiny"' in text  # the curve and the checks of each method stay
    assert words.view(explanations(clip(TWO)), "x").examples[0].side_by_side is None


def test_markup_in_a_time_stays_text():
    row = clip({"iba": [1.0]}, 1)
    row["film"][0]["name"] = row["words"][0] = '"><script>'
    text = page.explanations(explanations(row))
    assert "<script>" not in text and "&#34;&gt;&lt;script&gt;" in text


def test_a_clip_without_methods_is_a_plain_strip_and_records_without_film_are_words_as_before():
    row = clip({}, words=[])
    text = page.explanations(explanations(row))
    assert text.count("<li title=") == 4 and 'class="lane"' not in text and "4 frames from 0.00 s to 1.20 s" in text
    assert "Below a frame every" not in " ".join(text.split())
    old = clip(TWO)
    del old["film"]
    both = page.explanations(explanations(old, clip(TWO)))
    assert 'class="words"' in both and both.count('<figure class="film">') == 1 and "Each word is coloured" in both
    for nothing in (None, []):
        assert 'class="words"' in page.explanations(explanations(clip(TWO, film=nothing)))


def test_several_answers_about_one_clip_show_its_frames_once_above_their_matrices():
    text = page.explanations(explanations(clip(TWO), clip(TWO, answer="water")))
    assert "2 explanations of 1 clip" in text
    assert text.count('<figure class="film">') == 1 and text.count('<span class="at"') == 4
    assert 'class="tiles matrix' in text
    assert '<span class="pred" dir="auto">surfing</span>' in text  # not its times


def test_the_report_of_a_run_shows_the_strip(tmp_path):
    run = tmp_path / "run"
    report_run.write_run(run)
    Explained(explanations(clip(TWO))).save(run / "results" / "explanations.json")
    assert page.write(run).read_text().count('<figure class="film">') == 1


# ---- the PNG and the notebook -----------------------------------------------------------------------------------------


def sheet_of(methods, count=4, dark=False):
    sheet = picture.Sheet(picture.DARK if dark else picture.LIGHT)
    picture._example(sheet, words.view(explanations(clip(methods, count)), "x").examples[0])
    return sheet


def test_the_png_has_the_frames_in_lines_and_bars_as_high_as_they_are_strong():
    sheet = sheet_of({"iba": [1.0, 4.0, 0.0, 2.0], "occlusion": [-0.2, 0.1, 0.0, 0.0]})
    photos = [mark for mark in sheet.marks if isinstance(mark, picture.reels.Photo)]
    assert [photo.image.getpixel((5, 5))[0] for photo in photos] == [0, 5, 10, 15]
    assert [photo.x for photo in photos] == sorted(photo.x for photo in photos) and len({photo.y for photo in photos}) == 1
    blue, orange = (sheet.palette.ground(sign, words.STRONGEST) for sign in ("pos", "neg"))
    bars = [mark for mark in sheet.marks if isinstance(mark, picture.Box) and mark.fill in (blue, orange)]
    assert [bar.height for bar in bars if bar.fill == blue] == [5.0, 20.0, 10.0, 8.0]
    (against,) = (bar for bar in bars if bar.fill == orange)
    below = next(bar for bar in bars if bar.fill == blue and bar.height == 8.0)
    assert against.height == 16.0 and against.y >= below.y + below.height  # below the line that the other stands on
    assert len([mark for mark in sheet.marks if isinstance(mark, picture.Box) and mark.fill is None]) == 2  # the marked frames


@pytest.mark.parametrize("count", [1, 25, 100])
def test_no_frame_of_the_png_passes_its_edge_nor_touches_what_stands_below(count):
    sheet = sheet_of({"integrated_gradients": [0.1 * (i % 7) for i in range(count)]}, count)
    photos = [mark for mark in sheet.marks if isinstance(mark, picture.reels.Photo)]
    scale = picture.SCALE
    assert len(photos) == count
    assert all(p.x >= picture.MARGIN and p.x + p.image.size[0] / scale <= picture.WIDTH - picture.MARGIN + 1 for p in photos)
    ends = sorted({(p.y, p.y + p.image.size[1] / scale) for p in photos})
    assert all(end < after for (_, end), (after, _) in itertools.pairwise(ends))


def test_explained_clips_are_saved_as_page_picture_and_data_and_name_frames_by_their_times(tmp_path):
    found = Explained(explanations(clip(TWO)))
    assert found.top("iba", 2) == [[("0.40 s", 4.0), ("1.20 s", 2.0)]]
    for suffix in ("html", "png", "json"):
        assert found.save(tmp_path / f"why.{suffix}").stat().st_size > 500
