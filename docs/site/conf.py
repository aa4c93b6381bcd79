"""Settings of the site for Sphinx. `make docs` gives it a folder that tools/docs/ has assembled."""

from minigrad import __version__

project, author, release = "minigrad", "the authors of minigrad", __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "tools.docs.extension"]
root_doc = "index"
exclude_patterns = ["README.md"]  # parts of it are included elsewhere

html_theme = "furo"
html_title = "minigrad"
html_static_path = ["site.css"]
html_favicon = "icon.svg"
html_css_files = ["site.css"]
html_show_copyright = html_show_sphinx = html_copy_source = False
html_search_language = "en-zh"  # of the extension, as is the next
html_math_renderer = "mathml"

nb_execution_mode = "off"  # tools/docs/notebooks.py has run them
nb_output_stderr = "remove"  # progress bars
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

default_role = "py:obj"  # `Tensor` in a docstring is a link, `x` is not
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style"), ("Called with", "params_style")]
toc_object_entries = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 80
