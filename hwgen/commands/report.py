"""``hwgen report``: everything known of a design, in one HTML file."""

from __future__ import annotations

from hwgen.commands import common


def report(directory: common.Folder) -> None:
    """Write DIR/report.html, one self-contained file.

    Accuracy, cost, layers, images and kernels, from the JSON files of the earlier verbs.
    """
    common.design_folder(directory)
    from hwgen.commands import report_html

    common.say(str(report_html.write_report(directory)))
