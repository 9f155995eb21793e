"""Files that are no release at all, or no text: what is in them, and what is said about it."""

from __future__ import annotations

from tests.unit.releases import GOOD, changed

GOOD_BYTES = GOOD.encode()
EMPTY = "empty: a release file begins with `release: <name>`"
NO_YAML = "this is no YAML"
HOLDS = "it holds the character '{}': remove it, or save the file as UTF-8"
NUL, ESCAPE = r"\x00", r"\x1b"
UNSEEN = r"line 1 holds '\xa0', which cannot be seen: write it anew"
SPACES = "indent with spaces, not with tabs"
IN_A_SCALAR = "while scanning a plain scalar, found a tab character that violates indentation"
TOKEN = "while scanning for the next token, found character that cannot start any token"
SECOND = (
    "expected a single document in the stream, but found another document; one release a file: remove the "
    "line --- and what follows it"
)
DIRECTIVE = "found incompatible YAML document; remove the line %YAML"

#: name -> bytes of the file, and the line that refuses it (its beginning, or all of it with the line break).
BYTES: dict[str, tuple[bytes, str]] = {
    # nothing in it
    "empty": (b"", f"good.yaml:1: {EMPTY}\n"),
    "blank": (b"  \n\n", f"good.yaml:1: {EMPTY}\n"),
    "comment": (b"# later\n", f"good.yaml:1: {EMPTY}\n"),
    "null": (b"~\n", f"good.yaml:1: {EMPTY}\n"),
    "list": (b"- a\n", "good.yaml:1: no mapping: a release file begins with `release: <name>`\n"),
    "word": (b"good\n", "good.yaml:1: no mapping"),
    # no text, or not as it looks
    "latin-1": (
        GOOD.replace("centos", "cent\xf6s").encode("latin-1"),
        "good.yaml:2: byte 33 is not UTF-8: save the file as UTF-8\n",
    ),
    "utf-16": (GOOD.encode("utf-16"), "good.yaml:1: byte 0 is not UTF-8: save the file as UTF-8\n"),
    "utf-16 without mark": (GOOD.encode("utf-16-le"), f"good.yaml:1: {NO_YAML}: {HOLDS.format(NUL)}\n"),
    "nul": (b"release: good\nx: a\0b\n", f"good.yaml:2: {NO_YAML}: {HOLDS.format(NUL)}\n"),
    "escape": (b"release: good\n\n\n# \x1b[2J\n", f"good.yaml:4: {NO_YAML}: {HOLDS.format(ESCAPE)}\n"),
    "no-break space": (
        changed("release: good", "release:\u00a0good").encode(),
        f"good.yaml:2: {NO_YAML}: mapping values are not allowed in this context; {UNSEEN}\n",
    ),
    # whitespace
    "tab": (
        changed("    path: /images", "\tpath: /images").encode(),
        f"good.yaml:12: {NO_YAML}: {IN_A_SCALAR}; {SPACES}\n",
    ),
    "tab in a block": (
        b"release: good\ndistro:\n\tname: centos\n",
        f"good.yaml:3: {NO_YAML}: {TOKEN}; {SPACES}\n",
    ),
    # YAML that is none, or more than is read here
    "two documents": (GOOD_BYTES + b"---\n" + GOOD_BYTES, f"good.yaml:43: {NO_YAML}: {SECOND}\n"),
    "directive": (b"%YAML 9.9\n---\n" + GOOD_BYTES, f"good.yaml:1: {NO_YAML}: {DIRECTIVE}\n"),
    "alias of nothing": (
        changed("release: good", "release: *good").encode(),
        f"good.yaml:1: {NO_YAML}: found undefined alias; a text that begins with * needs quotes, and an ",
    ),
    "conflict": (GOOD_BYTES.replace(b"distro:", b"<<<<<<< HEAD\ndistro:"), f"good.yaml:3: {NO_YAML}: "),
    # more than anybody needs
    "deep": (b"a: " + b"[" * 1_000_000, "good.yaml:1: nested too deeply for a release file\n"),
    "dashes": (b"- " * 1_000_000, "good.yaml:1: nested too deeply"),
    "torn": (b"release: a\n" + b"- " * 1_000_000, f"good.yaml:2: {NO_YAML}"),
    "alias chain": (
        b"k0: &a0 x\n"
        + b"".join(b"k%d: &a%d %s*a%d%s\n" % (n, n, b"[" * 45, n - 1, b"]" * 45) for n in range(1, 30)),
        "good.yaml: nested too deeply for a release file",
    ),
    "aliases of aliases": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghi"),
        "good.yaml: more than 50000 values; use fewer aliases",
    ),
    "huge": (b"#" * 5_000_000, "good.yaml: more than 4000000 bytes are no release file; look what was "),
}
