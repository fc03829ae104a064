"""A shell in a pseudo-terminal, whose keys are pressed, and that tells what then stands on its line."""

import contextlib
import os
import select
import subprocess
import sys
import time

SECONDS = 60.0  # that a shell may take for anything
TELL = "\x14"  # Ctrl-T, which writes the line to a file
CLEAR = "\x15"  # Ctrl-U
SHELLS = {  # how each is started without the user's own settings, and what binds Ctrl-T
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        ["""bind -x '"\\C-t": printf %s "$READLINE_LINE" > told; echo > ready'"""],
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        [
            "autoload -Uz compinit; compinit -D -u",
            "tell() { print -rn -- $BUFFER > told; print > ready }; zle -N tell; bindkey '^T' tell",
        ],
    ),
    "fish": (
        ("fish", "--no-config", "-i"),
        ["bind \\ct 'commandline > told; echo > ready'"],
    ),
}


BECOME = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class TypedShell:
    """A shell that has read the file `script`, in a folder where it writes the files `told` and `ready`."""

    def __init__(self, name, folder):
        words, settings = SHELLS[name]
        self.folder = folder
        self.terminal, inside = os.openpty()
        home = {"HOME": str(folder), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        # a process of its own makes the terminal its own: to fork this one is no good where libraries run threads
        command = [sys.executable, "-c", BECOME, *words]
        self.process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, cwd=folder, env=home)
        os.close(inside)
        for line in (*settings, "source ./script", "echo > ready"):
            os.write(self.terminal, f"{line}\r".encode())
        self._wait()
        self.line_after("")  # the first line may come before the keys are bound

    def line_after(self, keys):
        """Press keys on an empty line, and return what stands on it then."""
        os.write(self.terminal, (keys + TELL).encode())
        self._wait()
        os.write(self.terminal, CLEAR.encode())
        return (self.folder / "told").read_text().removesuffix("\n")

    def _wait(self):
        """Read what the shell shows until it has written `ready`."""
        ready, end, shown = self.folder / "ready", time.monotonic() + SECONDS, b""
        while not ready.exists():
            if time.monotonic() > end:
                raise TimeoutError(f"the shell does not answer; it showed {shown!r}")
            if select.select([self.terminal], [], [], 0.05)[0]:
                found = os.read(self.terminal, 65536)
                shown += found
                if b"\x1b[c" in found or b"\x1b[0c" in found:  # fish asks what terminal it is on
                    os.write(self.terminal, b"\x1b[?1;2c")
        ready.unlink()

    def close(self):
        """End the shell."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.terminal)
