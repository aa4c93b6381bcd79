"""What the site adds to Sphinx: formulas as MathML, a search that knows Chinese, and links from every name."""

import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.domains.python import PythonDomain
from sphinx.search import SearchEnglish, languages

from tools.docs import api


class BothLanguages(SearchEnglish):
    """English words, and Chinese as pairs of characters that follow each other, in pages and in what one looks for."""

    PARTS = r"[\u4e00-\u9fff]+|[^\W\u4e00-\u9fff]+"
    js_splitter_code = r"""
        var wordsOf = /[\u4e00-\u9fff]+|(?:(?![\u4e00-\u9fff])[\p{L}\p{N}_])+/gu;
        var pairsOf = (part) => Array.from(part.slice(1), (_, n) => part.slice(n, n + 2));
        var splitQuery = (query) => (query.match(wordsOf) ?? []).flatMap((part) =>
            /^[\u4e00-\u9fff]{3}/.test(part) ? pairsOf(part) : [part]);
    """

    def split(self, input: str) -> list[str]:
        """Return the words of a text."""
        words = []
        for part in re.findall(self.PARTS, input):
            pairs = re.match("[\u4e00-\u9fff]{3}", part)
            words += [part[n : n + 2] for n in range(len(part) - 1)] if pairs else [part]
        return words


languages["en-zh"] = BothLanguages


class ExactNames(PythonDomain):
    """Links from annotations to names as they are: `bytes` is Python's, not any class's attribute of that name."""

    def find_obj(self, env: Any, modname: Any, classname: Any, name: str, kind: Any, searchmode: int = 0) -> Any:
        """Return the candidates for a name."""
        return super().find_obj(env, modname, classname, name, kind, 0)


def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML, with the spaces of TeX around log and the like, and none behind the sign of a number.

    Args:
        latex: the formula.
        display: "block" or "inline".
    """
    formula = latex2mathml.converter.convert(latex, display=display)
    name, space = "<mi>(?:log|ln|exp|tanh)</mi>", '<mspace width="0.167em" />'
    formula = re.sub(f"(</m(?:i|n|sub|sup|row)>)({name})", rf"\1{space}\2", formula)
    formula = re.sub(f"(?<!<msub>)(?<!<msup>)({name})(?=<m[ins])", rf"\1{space}", formula)
    before = "&#x0003D;|&#x02248;|&#x00028;|&#x0002C;|&#x022C5;"  # = ≈ ( , ·
    return re.sub(f"(<mo[^>]*>(?:{before})</mo>)<mo>&#x02212;", r'\1<mo form="prefix">&#x02212;', formula)


def visit_math(self: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw without a script."""
    block = isinstance(node, nodes.math_block)
    formula = mathml(node.astext(), "block" if block else "inline")
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def link_all_names(app: Any, env: Any) -> None:
    """Let each name by which a thing may be imported lead to where it is described."""
    domain = env.domains.python_domain
    for name, described in api.every_name().items():
        if name not in domain.objects and described in domain.objects:
            domain.objects[name] = domain.objects[described]._replace(aliased=True)
    sources = getattr(env, "_viewcode_modules", {})
    for name in [name for name, source in sources.items() if not source]:
        del sources[name]  # Python's own modules, which viewcode lists though it has no page for them


def escape(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Let docstrings be text with `code` in it, before napoleon reads them."""
    lines[:] = api.safe("\n".join(lines)).split("\n")


def finish_page(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell browsers and screen readers the page's language; a source's links back would take one name for all it defines."""
    if page.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])
    context["language"] = "zh-CN" if page.startswith(("README.zh", "notebooks/zh/")) else "en"


def setup(app: Any) -> dict[str, bool]:
    """Add what is defined above; pages may be read and written by several processes."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.add_domain(ExactNames, override=True)
    app.connect("autodoc-process-docstring", escape, priority=400)
    app.connect("env-updated", link_all_names)
    app.connect("html-page-context", finish_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
