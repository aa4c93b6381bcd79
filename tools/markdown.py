"""Tables of the pages that tools write."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose columns line up as plain text too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines) + "\n"
