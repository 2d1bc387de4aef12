"""Turns the Autobahn test suite, which is Python 2 source, into Python 3: convert.py FROM TO.

A byte string of Python 2 becomes a text whose characters are the bytes (latin-1): so the cases keep working with one kind of
string, and latin.py turns text into bytes and back where the suite meets the library. Beside the fixers of lib2to3 only the
changes listed here are made; each must apply, so that another release of the suite fails loudly.
"""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore", DeprecationWarning)
try:
    from lib2to3.refactor import RefactoringTool, get_fixers_from_package

    FIXERS = "lib2to3.fixes"
except ImportError:  # Python 3.13 and later are without it; fissix is its continuation.
    from fissix.refactor import RefactoringTool, get_fixers_from_package

    FIXERS = "fissix.fixes"

CHANGES = {
    # Equal is what is wanted; pickles also differ by which objects are shared.
    "case/case.py": [("return pickle.dumps(obj1) == pickle.dumps(obj2)", "return obj1 == obj2")],
    "case/case6_x_x.py": [
        ("from autobahn.websocket.utf8validator import Utf8Validator", "from latin import Utf8Validator"),
    ],
    # Python 3 has no `implements` in a class body. The case is not in the suite's list, but its file is imported.
    "case/case9_9_1.py": [
        ("from zope.interface import implements\n", ""),
        ("implements(interfaces.IPushProducer)", "pass"),
    ],
    "case/case10_1_1.py": [("len(self.payload) / self.p.autoFragmentSize", "len(self.payload) // self.p.autoFragmentSize")],
    "fuzzing.py": [
        # What is logged from the wire comes in bytes from the library, and in text from the cases.
        ("def binLogData(data, maxlen = 64):", "def binLogData(data, maxlen = 64):\n   data = latin.text(data)"),
        (
            "def asciiLogData(data, maxlen = 64, replace = False):",
            "def asciiLogData(data, maxlen = 64, replace = False):\n   data = latin.text(data)",
        ),
        ("return dd.decode('utf8', ", "return latin.octets(dd).decode('utf8', "),
        ("p = ''.join(payload)", "p = ''.join(latin.text(part) for part in payload)"),
        # Only the fuzzing server, and a client over TLS, need these.
        ("from twisted.internet import reactor, ssl\n", "from twisted.internet import reactor\n"),
        ("self.contextFactory = ssl.ClientContextFactory()", "self.contextFactory = None"),
        ("from twisted.web.server import Site\n", ""),
        ("from twisted.web.static import File\n", ""),
        ("import os, json, ", "import latin\nimport os, json, "),
    ],
}
EVERYWHERE = [
    ("binascii.b2a_hex(", "latin.hex_of("),
    ("binascii.hexlify(", "latin.hex_of("),
    # All classes are new-style now, and `object` cannot come before one of them.
    ("(object, Case, )", "(Case, )"),
]
NEEDED = ["_version.py", "caseset.py", "fuzzing.py", "case/*.py"]


def main(source, target):
    tool = RefactoringTool(get_fixers_from_package(FIXERS))
    for pattern in NEEDED:
        for path in sorted(source.glob(pattern)):
            name = str(path.relative_to(source))
            out = target / name
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(convert(tool, name, path), encoding="utf-8")
    # The package's own file imports every tool that the suite comes with.
    (target / "__init__.py").write_text("from ._version import __version__\n\nversion = __version__\n")
    # What is only for its pages of HTML, which are not made here.
    (target / "report.py").write_text('CSS_COMMON = CSS_DETAIL_REPORT = CSS_MASTER_REPORT = JS_MASTER_REPORT = ""\n')
    testdata = target / "testdata"
    if not testdata.exists():
        testdata.symlink_to((source / "testdata").resolve())


def convert(tool, name, path):
    text = path.read_bytes().decode("latin-1").replace("\r\n", "\n")
    for old, new in CHANGES.get(name, []):
        assert text.count(old) == 1, f"{name}: {old!r} occurs {text.count(old)} times: is this another release?"
        text = text.replace(old, new)
    for old, new in EVERYWHERE:
        text = text.replace(old, new)
    if "latin." in text and "import latin\n" not in text:
        text = text.replace("import binascii\n", "import binascii\nimport latin\n", 1) if "import binascii\n" in text else "import latin\n" + text
    text = text.replace("# coding=utf-8\n", "", 1)
    # The path tells the fixer of imports which modules lie beside this one.
    return str(tool.refactor_string(text if text.endswith("\n") else text + "\n", str(path)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
