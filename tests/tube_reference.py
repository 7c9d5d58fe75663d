"""A slow second implementation of the scores, in plain Python loops.

Written from the definitions in docs/metrics.md and sharing no code with the
package, so that both can only agree by being right.
"""


def box_iou(a, b):
    """Overlap of two xyxy boxes; 0 for a box without area."""
    if min(a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]) <= 0:
        return 0.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return inter / (area - inter)


def grid_5fps(segment, fps):
    """Frames that the sampled protocols look at."""
    ratio = 5 / fps
    chosen = [segment[0]]
    for frame in range(segment[0], segment[1] - 1):
        if int(chosen[-1] * ratio) < int(frame * ratio):
            chosen.append(frame)
    if len(chosen) > 200:
        chosen = [chosen[index * len(chosen) // 200] for index in range(200)]
    return chosen


def tubedetr(truth, guess):
    """Temporal, tube and true-span overlap on the 5 fps grid."""
    (start, end), (first, stop) = truth['span'], guess['span']
    common = max(0, min(end, stop) - max(start, first))
    tiou = common / ((end - start) + (stop - first) - common)
    grid = grid_5fps(truth['segment'], truth['fps'])
    hull = inside = total = graded = 0
    for frame in grid:
        in_truth = start <= frame < end
        in_guess = first <= frame < stop
        if min(start, first) <= frame < max(end, stop):
            hull += 1
        if not in_truth:
            continue
        graded += 1
        if frame not in guess['boxes']:
            continue
        overlap = box_iou(guess['boxes'][frame], truth['boxes'][frame])
        total += overlap
        if in_guess:
            inside += overlap
    return tiou, inside / max(hull, 1), total / max(graded, 1)


def _between(boxes, frame):
    """Box at a frame: linear between neighbours, held at the ends."""
    known = sorted(boxes)
    if frame <= known[0]:
        return boxes[known[0]]
    if frame >= known[-1]:
        return boxes[known[-1]]
    before = max(other for other in known if other <= frame)
    after = min(other for other in known if other >= frame)
    if before == after:
        return boxes[frame]
    part = (frame - before) / (after - before)
    return [
        low + part * (high - low)
        for low, high in zip(boxes[before], boxes[after])
    ]


def stcat(truth, guess, hcstvg=False):
    """Native frames; the end of the true span is read as its last frame."""
    start, end = truth['span']
    last = end - 1 if hcstvg else min(end, truth['segment'][1] - 1)
    first, stop = guess['span']
    common = max(0, min(last, stop) - max(start, first))
    lengths = (last - start) + (stop - first) - common
    hull = max(last, stop) - min(start, first)
    inside = total = 0
    for frame in range(start, last + 1):
        if not guess['boxes']:
            break
        box = _between(guess['boxes'], frame)
        overlap = box_iou(box, truth['boxes'][frame])
        total += overlap
        if max(start, first) <= frame < min(last, stop):
            inside += overlap
    tiou = common / lengths if common else 0.0
    return tiou, inside / max(hull, 1), total / (last - start + 1)


def hcstvg(truth, guess):
    """Frames on which both have a box, over the hull, ends inclusive."""
    true_boxes = {
        frame: box
        for frame, box in truth['boxes'].items()
        if truth['span'][0] <= frame < truth['span'][1]
    }
    boxes = {
        frame: box
        for frame, box in guess['boxes'].items()
        if guess['span'][0] <= frame < guess['span'][1]
    }
    both = set(true_boxes) & set(boxes)
    last = max(truth['span'][1] - 1, guess['span'][1] - 1)
    hull = last - min(truth['span'][0], guess['span'][0]) + 1
    overlaps = [box_iou(boxes[frame], true_boxes[frame]) for frame in both]
    total = sum(
        box_iou(guess['boxes'][frame], box)
        for frame, box in true_boxes.items()
        if frame in guess['boxes']
    )
    return len(both) / hull, sum(overlaps) / hull, total / len(true_boxes)
