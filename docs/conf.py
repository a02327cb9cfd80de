"""The site: `make docs` builds it with Sphinx from the pages as they lie in the repository; a broken link fails."""

from importlib import metadata

project = "dae-sampler"
author = "The dae-sampler authors"
release = metadata.version("dae-sampler")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "checkpoints/README.md", "docs/**"]
exclude_patterns = ["docs/conf.py", "docs/site"]
root_doc = "docs/index"
html_theme = "furo"
html_title = "dae-sampler"
html_extra_path = ["site"]  # index.html, which leads to docs/index.html
html_show_sourcelink = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # a busy machine takes its time
nb_execution_in_temp = True
nb_merge_streams = True

SECTIONS = {
    "Start": ["../README", "gallery", "tutorials/digits", "tutorials/own-folder"],
    "How-to": ["how-to/*"],
    "Reference": ["reference/*"],
    "Background": ["background/*"],
    "Results": ["results/*"],
    "The project": ["../checkpoints/README", "../CHANGELOG", "../CONTRIBUTING", "dev/log", "CREDITS"],
}
"""The order of the pages. The index lists them by what people want, so the site's own lists are hidden."""


def _add_sections(app: object, page: str, source: list[str]) -> None:
    if page == root_doc:
        for title, pages in SECTIONS.items():
            entries = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {title}\n{entries}\n```\n"


def setup(app) -> None:  # noqa: ANN001
    """Have the sections added as the index is read."""
    app.connect("source-read", _add_sections)
