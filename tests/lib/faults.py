"""faults.py - a server with failing fsync, a jumping clock or a changing name: builds tests/lib/faults.c, preloads it and moves its controls."""
import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Faults:
    def __init__(self, directory):
        library, path = f"{directory}/faults.so", f"{directory}/faults.control"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, f"{HERE}/faults.c", "-ldl"], check=True, timeout=60)
        with open(path, "wb") as f:
            f.write(bytes(32))
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 32)
        self.env = {"LD_PRELOAD": library, "FAULTS_CONTROL": path}

    def clock(self, seconds):
        """The server's wall clock is off by so much from now on."""
        self.map[0:8] = struct.pack("q", int(seconds * 1e9))

    def fsync(self, number):
        """Each fsync fails with this errno; 0 = it works again."""
        self.map[8:16] = struct.pack("q", number)

    def fsyncs_failed(self):
        return struct.unpack("q", self.map[16:24])[0]

    def lookups(self):
        """How often names in changing.test were looked up."""
        return struct.unpack("q", self.map[24:32])[0]
