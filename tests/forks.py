"""Commands in forks of one process that has done the imports.

The imports take longer than most commands. What is tested is a command line,
its exit code and what it writes, as in a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERO = (
    'mmengine.runner',
    'hero_mm.apis',
    'hero_mm.datasets',
    'hero_mm.engine',
    'hero_mm.models',
)
SERVER = """
import importlib, json, os, runpy, signal, sys, traceback
from multiprocessing import util

for name in sys.argv[1:]:
    importlib.import_module(name)


def take(words):
    try:
        if words[0] == '-m':
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
            runpy.run_path(words[0], run_name='__main__')
    except SystemExit as leave:
        if isinstance(leave.code, str):
            print(leave.code, file=sys.stderr)
            return 1
        return leave.code or 0
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


for line in sys.stdin:
    folder, limit, words, files = json.loads(line)
    process = os.fork()
    if not process:
        signal.alarm(limit)
        os.chdir(folder)
        for number, name in enumerate(files):
            os.dup2(os.open(name, os.O_RDWR), number)
        code = take(words)
        # Workers end here, as they do where Python itself ends.
        util._exit_function()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(code, flush=True)
# Nothing is left to do.
os._exit(0)
"""


class Forks:
    """Runs commands of Python, one after the other; a context.

    ``env`` are variables beside those of this process, ``imports`` modules
    that are imported once.
    """

    def __init__(self, env, imports=HERO):
        self.files = tempfile.TemporaryDirectory()
        self.server = subprocess.Popen(
            [sys.executable, '-c', SERVER, *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, 'OMP_NUM_THREADS': '1', **env},
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.communicate(timeout=60)
        self.files.cleanup()

    def run(self, folder, *words, limit=900):
        """Run a command line of Python in a folder: its exit code and output.

        The words are a script, or ``-m`` and a module, and arguments. After
        ``limit`` seconds it is killed. The code is 70 for an exception that
        nobody catches; errors stand last in the output.
        """
        files = [Path(self.files.name) / name for name in ('in', 'out', 'err')]
        for path in files:
            path.write_bytes(b'')
        task = [str(folder), limit, [*map(str, words)], [*map(str, files)]]
        self.server.stdin.write(json.dumps(task) + '\n')
        self.server.stdin.flush()
        code = int(self.server.stdout.readline())
        return code, ''.join(path.read_text() for path in files[1:])
