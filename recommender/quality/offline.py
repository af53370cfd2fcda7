"""Data Docs without the network: what the pages would fetch from elsewhere is taken out.

Great Expectations' pages take their layout and a few scripts from public servers. Opening a
report must tell nobody, and must work without a line: references to other hosts go, the logo
comes from the site's own folder, and a small stylesheet stands in for the layout.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import quote

_STYLES = re.compile(r"<link\b[^>]*\bhref=[\"']?https?://[^>]*>", re.IGNORECASE)
_SCRIPTS = re.compile(
    r"<script\b[^>]*\bsrc=[\"']?https?://[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL
)
_INLINE = re.compile(r"<script\b[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL)
_ASSETS = re.compile(
    r"https://great-expectations-web-assets\.s3\.[\w.-]*amazonaws\.com/([\w.-]+)[^\"'\s>]*"
)
_STATIC = re.compile(r"(?:\./|(?:\.\./)+)static/")
_FOOTER = re.compile(r"<footer>.*?</footer>", re.IGNORECASE | re.DOTALL)
_LISTS = re.compile(r'<div class="container-fluid.*(?=</body>)', re.IGNORECASE | re.DOTALL)

# A second lock: even markup that slipped in from the data could run or fetch nothing.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'; img-src 'self' file: data:; font-src 'self' file: data:\">"
)

_LAYOUT = """<style>
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:#222;background:#fff;padding:0 1rem}
.row{display:flex;flex-wrap:wrap;gap:1rem}.row>*{min-width:0}
[class*=col-md-2],[class*=col-lg-2]{flex:0 0 14rem}[class*=col-md-10]{flex:1 1 40rem}
[class*=col-12]{flex:1 1 100%}
table{border-collapse:collapse;width:100%;margin:.5rem 0;display:block;overflow-x:auto}
td,th{border:1px solid #ddd;padding:.35rem .6rem;text-align:left;vertical-align:top}
img{max-width:100%}a{color:#0b5394}
.card{border:1px solid #ddd;border-radius:6px;padding:.6rem;margin:.5rem 0}
.alert-success{background:#e6f4ea}.alert-danger{background:#fdecea}.alert-secondary{background:#eee}
h5,h6{font-size:1rem;margin:.4rem}.btn-group,.card-text,.card:has(.btn-group){display:none}
div[style*=color]{color:inherit!important}
.text-success{color:#137333}.text-danger{color:#b3261e}.text-warning{color:#8a6100}
.nav,.list-unstyled{list-style:none;padding-left:0}.modal,.d-none{display:none}
.breadcrumb{list-style:none;display:flex;gap:.5rem;padding:0}
.fa-check-circle::before{content:"✓ "}.fa-times::before{content:"✗ "}
.fa-exclamation-triangle::before{content:"! "}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}
td,th,.card{border-color:#444}a{color:#8ab4f8}
.navbar-brand a{background:#ddd!important}.navbar-brand a img{visibility:visible!important}
.alert-success{background:#12331c}.alert-danger{background:#3d1512}.alert-secondary{background:#2a2a2a}}
</style>"""


class _Failures(logging.Handler):
    """Keeps the exceptions that are being handled while something is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(sys.exc_info()[1] or RuntimeError(record.getMessage()))


@contextmanager
def loud() -> Iterator[None]:
    """Raise what goes wrong while a site is built; Great Expectations would only log it.

    A site with pages missing (a full disk) must not pass for a whole one.
    """
    logger = logging.getLogger("great_expectations.render.renderer.site_builder")
    failures, told = _Failures(), logger.propagate
    logger.addHandler(failures)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(failures)
        logger.propagate = told
    if failures.found:
        raise failures.found[0]


def settle(folder: Path, verdicts: Mapping[str, bool]) -> None:
    """Rewrite every page below `folder` so that it loads nothing from another host.

    Links that a person can follow stay; the scripts that need a fetched library go with it.

    Args:
        folder: a site that Great Expectations has built.
        verdicts: by suite, whether all its expectations held; told on the first page.
    """
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        root = os.path.relpath(folder, page.parent)
        text = _FOOTER.sub("", _INLINE.sub("", _SCRIPTS.sub("", _STYLES.sub("", text))))
        text = _ASSETS.sub(rf"{root}/static/images/\1", _STATIC.sub(f"{root}/static/", text))
        # The package names a logo for dark screens that it doesn't carry.
        text = text.replace("full_logo_dark.png", "logo-long.png")
        text = text.replace("<head>", f"<head>\n{_POLICY}", 1)
        text = text.replace("</head>", f"{_LAYOUT}\n</head>", 1)
        if page == folder / "index.html":
            text = _LISTS.sub("", text).replace("</body>", _contents(folder, verdicts) + "</body>")
        page.write_text(text, encoding="utf-8")


def _contents(folder: Path, verdicts: Mapping[str, bool]) -> str:
    """List the pages of a site; Great Expectations fills its own lists by a script."""
    rows = []
    for suite, held in verdicts.items():
        results = sorted(folder.glob(f"validations/{suite}/**/*.html"))
        pages = [*results, folder / "expectations" / f"{suite}.html"]
        names = [*("results" for _ in results), "expectations"]
        links = [
            f'<a href="{escape(quote(page.relative_to(folder).as_posix()))}">{name}</a>'
            for page, name in zip(pages, names, strict=True)
        ]
        mark = "all hold" if held else "some are broken"
        rows.append(f"<tr><th>{escape(suite)}</th><td>{mark}</td><td>{' · '.join(links)}</td></tr>")
    return f"<h1>Data Docs</h1><table>{''.join(rows)}</table>"
