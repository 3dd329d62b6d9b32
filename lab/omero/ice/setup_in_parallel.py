"""Runs the setup.py of the current directory with its sources compiled on all cores: Ice is 200 C++ files, and
distutils compiles them one after another."""
import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from distutils.ccompiler import CCompiler

import setuptools  # noqa: F401  (brings the distutils that Python 3.12 no longer has)


def compile_in_parallel(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
                        extra_preargs=None, extra_postargs=None, depends=None):
    """Does what CCompiler.compile does, each object in a thread that waits for its compiler."""
    macros, objects, extra_postargs, options, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    arguments = self._get_cc_args(options, debug, extra_preargs)

    def compile_one(object_file):
        source, extension = build[object_file]
        self._compile(object_file, source, extension, arguments, extra_postargs, options)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, build))
    return objects


CCompiler.compile = compile_in_parallel
sys.argv[0] = "setup.py"
runpy.run_path("setup.py", run_name="__main__")
