"""The plain-text part of a mail, derived from its HTML: words, paragraphs, and the addresses of links."""

import re
from html.parser import HTMLParser

_BLOCKS = frozenset({
    "p", "div", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "section", "header",
    "footer"})
_SILENT = frozenset({"head", "style", "script", "title", "noscript"})
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"})
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def plain_text(html: str) -> str:
    """Never longer than a few times its HTML. Hidden parts (the preview text) are left out."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = [re.sub(r"[ \t\u00a0]+", " ", line).strip() for line in "".join(reader.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """(tag, hidden), hidden including what is outside."""
        self._link: tuple[str, int] | None = None

    def _silent(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _VOID:
            if not self._silent():
                self._void(tag, values)
            return
        self._open.append((tag, self._silent() or tag in _SILENT or bool(_HIDDEN.search(values.get("style", "")))))
        if self._silent():
            return
        if tag in _BLOCKS:
            self._break()
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "td":
            self.parts.append(" ")
        elif tag == "a" and values.get("href"):
            self._link = values["href"], len(self.parts)

    def _void(self, tag: str, values: dict[str, str]) -> None:
        if tag == "br":
            self.parts.append("\n")
        elif tag == "hr":
            self.parts.append("\n---\n")
        elif tag == "img" and values.get("alt"):
            self.parts.append(values["alt"])

    def handle_endtag(self, tag: str) -> None:
        if tag not in (name for name, _ in self._open):
            return
        was_silent = self._silent()
        while self._open and self._open.pop()[0] != tag:
            pass
        if was_silent:
            return
        if tag == "a" and self._link is not None:
            address, start = self._link
            self._link = None
            words = "".join(self.parts[start:]).strip()
            if address != words and not address.startswith("#"):
                self.parts.append(f" ({address})" if words else address)
        if tag in _BLOCKS:
            self._break()

    def handle_data(self, data: str) -> None:
        if not self._silent():
            self.parts.append(re.sub(r"\s+", " ", data))

    def _break(self) -> None:
        self.parts.append("\n" if self.parts and self.parts[-1].endswith("\n\n") else "\n\n")
