"""A small disk of its own for a part of muster's folders, which a test can fill. Mounting it needs root."""

import contextlib
import pathlib
import subprocess


class SmallDisk:
    def __init__(self, muster, *below, size="24m"):
        """For `below` muster's home, with all that is in there: ("m",), or a rehearsed host's ("m/hosts", CLUSTER, HOST)."""
        home = pathlib.Path(muster.home)
        self.folder = home.joinpath(*below)
        self.folder.mkdir(parents=True, mode=0o711)
        for folder in self.folder.parents:
            if folder == home:
                break
            folder.chmod(0o711)
        self.muster = muster
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", self.folder], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends muster's server first: what holds a file open keeps the disk."""
        self.make_room()
        self.muster.close()
        subprocess.run(["umount", "-l", self.folder], check=False, stderr=subprocess.DEVNULL)

    def fill(self):
        with open(self.folder / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)

    def make_room(self):
        (self.folder / "filler").unlink(missing_ok=True)
