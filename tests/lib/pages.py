"""pages.py - runs the blocks of a documentation page as one script, in their order, and holds what they print against the page."""
import os
import re
import subprocess
from server import ROOT

MARK = "== block "


class Page:
    """```bash blocks are run; a block in a language of `files` is written to that file; any other one is what the block before it prints at its end."""

    def __init__(self, path, files=()):
        with open(os.path.join(ROOT, path)) as f:
            blocks = re.findall(r"^```(\w+)\n(.*?)^```", f.read(), re.M | re.S)
        self.path, self.expected, self.blocks, self.script = path, {}, 0, "set -euo pipefail\n"
        for language, text in blocks:
            if language == "bash":
                self.blocks += 1
                self.script += f"printf '\\n{MARK}{self.blocks}\\n'\n{text}"
            elif language in files:
                self.script += f"cat > {files[language]} <<'END-OF-BLOCK'\n{text}END-OF-BLOCK\n"
            else:
                self.expected[self.blocks] = text

    def run(self, work, seconds, prefix=(), **options):
        """Runs the script and returns what it printed; every block must succeed and end with what the page says."""
        out_path = os.path.join(work, "out")
        with open(out_path, "w") as out:  # a file: what goes on in the background would hold a pipe open
            done = subprocess.run([*prefix, "timeout", "-k", "5", str(seconds), "bash", "-c", self.script], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, **options)
        with open(out_path) as f:
            text = f.read()
        assert done.returncode == 0, f"{self.path}: the last block ended with {done.returncode}\n{text[-8000:]}"
        printed = re.split(rf"\n{MARK}\d+\n", text)[1:]
        assert len(printed) == self.blocks
        for number, wanted in self.expected.items():
            assert printed[number - 1].endswith(wanted), f"{self.path}: block {number} printed\n{printed[number - 1]}\nand the page says\n{wanted}"
        return text
