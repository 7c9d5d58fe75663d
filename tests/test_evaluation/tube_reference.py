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
