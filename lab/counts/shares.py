"""Whose an instruction is: by the program or library that it lies in, and there by its source file. Pure."""

import re
from pathlib import PurePosixPath

from lab.counts.callgrind import Function

ENGINE = "engine module"
INTERPRETER = "interpreter"
CORE = "core"
MEMORY = "memory manager"
DATABASE = "database client"
LIBC = "libc"
OTHER = "other libraries"
NO_FILE = "no file"  # the kernel's vdso; of LuaJIT what it has compiled
# In the order of a table; between the first and the last ones are Kamailio's modules, by their names.
FIRST = (ENGINE, INTERPRETER, CORE, MEMORY)
LAST = (DATABASE, LIBC, OTHER, NO_FILE)

# Some modules bring their interpreter with them, as source files of others.
_OWN_INTERPRETER = {
    "app_jsdt.so": re.compile(r"/app_jsdt/duk"),
    "app_sqlang.so": re.compile(r"/squirrel/|\A\?\?\?\Z"),  # its C++ is compiled without names of files
}
_BY_OBJECT = {
    NO_FILE: re.compile(r"\A(\?\?\?)?\Z"),
    ENGINE: re.compile(r"/app_\w+\.so\Z"),
    DATABASE: re.compile(r"/(db_mysql|lib(mariadb|mysqlclient|srdb1))\.so"),
    INTERPRETER: re.compile(r"/lib(lua|luajit|python|ruby)[\w.-]*\.so|\.cpython-|/ruby/|/lua/|/python\d"),
    LIBC: re.compile(r"/(libc|libm|libpthread|libdl|ld-linux[\w-]*|ld)[.-]"),
}


def of(function: Function) -> str:
    """Whose it is: one of the names above, or a module of Kamailio's."""
    path = function.object
    for name, pattern in _BY_OBJECT.items():
        if pattern.search(path):
            return INTERPRETER if name == ENGINE and _brings(path, function.file) else name
    if path.endswith("/kamailio"):
        return MEMORY if "/core/mem/" in function.file else CORE
    return PurePosixPath(path).stem if "/kamailio/" in path else OTHER


def _brings(path: str, file: str) -> bool:
    """Whether a source file of an engine's module is its interpreter's."""
    files = _OWN_INTERPRETER.get(PurePosixPath(path).name)
    return bool(files and files.search(file))


def in_order(names: set[str]) -> list[str]:
    """As a table has them."""
    modules = sorted(names - {*FIRST, *LAST})
    return [name for name in (*FIRST, *modules, *LAST) if name in names]
