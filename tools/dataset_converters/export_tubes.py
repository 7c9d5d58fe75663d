"""Write tubes for an annotation tool, so that somebody can correct them.

Example:
    python tools/dataset_converters/export_tubes.py data/own/val.json \
        --pred predictions.json --format cvat --out to_correct
"""

import argparse
import sys

from hero_mm.errors import explained, run_tool, warnings_in_words

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.footage import EXPORTS, export_tubes
    from hero_mm.evaluation import check_match, load_predictions


def main() -> None:
    """Write the tubes and print how many they are."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('ann', help='annotation file')
    parser.add_argument('--format', choices=EXPORTS, required=True)
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--pred', help='prediction file (default: tubes of the annotation)'
    )
    args = parser.parse_args()
    annotation, predictions = load_annotation(args.ann), None
    if args.pred:
        predictions, metainfo = load_predictions(args.pred)
        with warnings_in_words():
            check_match(args.pred, predictions, metainfo, annotation)
    print(export_tubes(annotation, args.out, args.format, predictions).text())


if __name__ == '__main__':
    sys.exit(run_tool(main))
