#!/usr/bin/env python3
"""Plays text scripts of boskos-replay: each command's output must be exactly what the script has below it.

usage: run_scripts.py [--print] BOSKOS_REPLAY MAKE_FOLDER SCRIPT...

  folder lab                            the commands below are about the data folder of folders/lab.txt, made once
  # a comment, up to the next command or output
  $ boskos-replay show --at 12          a command, quoted as for a shell, to be continued after a \\ at a line's end
  what it prints, line by line
  ! what it prints on stderr
  exit 1                                its exit code, after what it prints, unless it is 0

`boskos-replay` gets `--data-dir {dir}` unless the command has --data-dir, --file, --help or --version. In commands and
output `{dir}` is the folder, `{tmp}` a place for the script's own files, `{version}` the program's. An empty line of output is written `\\`, and
one that begins like a line of the script, or with a `\\`, has a `\\` before it; `\\c` at the end says that the last line
has no end of its own. No command may change anything in the data folder.

--print writes what came into the script instead of comparing, for a person to look at.
"""

import os
import re
import shlex
import sys

import folder

HERE = os.path.dirname(os.path.abspath(__file__))
OF_THE_SCRIPT = re.compile(r"\\|#|\$ |! |exit \d|folder ")
HAS_NO_FOLDER = ("--data-dir", "--file", "--help", "--version")


class Block:
    """A command with what it must print. A block without a command is lines that stay as they are."""

    def __init__(self, number, command=None):
        self.number, self.command = number, command
        self.before, self.lines, self.after = [], [], []  # as written: the command's, the output's, what follows


def read(path):
    """The blocks of a script, the first of them without a command."""
    blocks = [Block(0)]
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        lines = f.read().split("\n")
    if lines.pop() != "":
        sys.exit(f"{path} does not end with a line's end")
    is_continued = False
    for number, line in enumerate(lines, 1):
        block = blocks[-1]
        if is_continued or line.startswith("$ "):
            if not is_continued:
                blocks.append(Block(number, ""))
                block = blocks[-1]
            block.before.append(line)
            is_continued = line.endswith("\\")
            block.command += line.removeprefix("$ ").removesuffix("\\")
        elif line == "" or line.startswith(("#", "folder ")):
            block.after.append(line)
        elif block.command is None:
            sys.exit(f"{path}:{number}: output without a command")
        else:
            block.lines.append(line)
    return blocks


class Player:
    def __init__(self, program, make_folder, tmp):
        self.program, self.make_folder, self.tmp = program, make_folder, tmp
        self.dir = None
        version = folder.Ended([program, "--version"]).out.decode().split()[-1]
        self.version = re.compile(r'(made by boskosd |"created_by":"|^boskos-replay )' + re.escape(version))

    def take_folder(self, name):
        self.dir = os.path.join(self.tmp, name)
        if os.path.exists(self.dir):
            return
        ended = folder.Ended([self.make_folder, os.path.join(HERE, "folders", name + ".txt"), self.dir])
        if ended.code != 0:
            sys.exit(f"the folder {name} cannot be made: {ended}")

    def play(self, block):
        """What a command prints, as a script writes it."""
        words = shlex.split(block.command)
        if not words or words[0] != "boskos-replay":
            return ["this is no boskos-replay"]
        if self.dir is None:
            return ["a folder must be named first"]
        words = [w.replace("{dir}", self.dir).replace("{tmp}", self.tmp) for w in words]
        if not any(w.split("=")[0] in HAS_NO_FOLDER for w in words):
            words[1:1] = ["--data-dir", self.dir]
        before = folder.look(self.dir)
        ended = folder.Ended([self.program, *words[1:]])
        lines = self.written(ended.out, "") + self.written(ended.err, "! ")
        if ended.code != 0:
            lines.append("killed, it took too long" if ended.code is None else f"exit {ended.code}")
        lines += ["IT CHANGED " + line for line in folder.changes(before, folder.look(self.dir))]
        return lines

    def written(self, output, prefix):
        """Output as lines of a script."""
        text = output.decode("utf-8", "surrogateescape").replace(self.dir, "{dir}").replace(self.tmp, "{tmp}")
        text = self.version.sub(r"\1{version}", text)
        if text == "":
            return []
        lines = text.split("\n")
        has_end = lines[-1] == ""
        if has_end:
            lines.pop()
        if prefix == "":
            lines = ["\\" + line if line == "" or OF_THE_SCRIPT.match(line) else line for line in lines]
        return [prefix + line for line in lines] + ([] if has_end else [prefix + "\\c"])


def show_difference(path, block, came):
    print(f"{path}:{block.number}: $ {block.command}")
    wanted = block.lines
    at = next((i for i, (a, b) in enumerate(zip(wanted, came)) if a != b), min(len(wanted), len(came)))
    for name, lines in (("wanted", wanted), ("came", came)):
        line = lines[at] if at < len(lines) else "no line any more"
        print(f"  line {at + 1} of its output, {name}: {line}".encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def play_script(path, program, make_folder, is_printing):
    """How many commands were played, and how many came out differently."""
    played, wrong, text = 0, 0, []
    blocks = read(path)
    with folder.temporary() as tmp:
        player = Player(program, make_folder, tmp)
        for block in blocks:
            if block.command is not None:
                came = player.play(block)
                played += 1
                is_bad = any(line.startswith(("IT CHANGED", "exit -", "killed")) for line in came)
                if is_bad or (not is_printing and came != block.lines):
                    wrong += 1
                    show_difference(path, block, came)
                block.lines = came
            for line in block.after:
                if line.startswith("folder "):
                    player.take_folder(line.split()[1])
            text += block.before + block.lines + block.after
    if is_printing:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write("".join(line + "\n" for line in text))
    return played, wrong


def main(arguments):
    is_printing = arguments[:1] == ["--print"]
    if is_printing:
        arguments = arguments[1:]
    if len(arguments) < 3 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    program, make_folder, *scripts = arguments
    played = wrong = 0
    for path in scripts:
        counts = play_script(path, program, make_folder, is_printing)
        played, wrong = played + counts[0], wrong + counts[1]
        if counts[0] == 0:
            print(f"{path} has no command")
            wrong += 1
    print(f"{len(scripts)} scripts, {played} commands, {wrong} wrong")
    return 1 if wrong > 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
