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
OTHER = "other"
NO_FILE = "no file"  # the kernel's vdso; of LuaJIT what it has compiled
# In the order of a table; between the first and the last ones are Kamailio's modules, by their names.
FIRST = (ENGINE, INTERPRETER, CORE, MEMORY)
LAST = (DATABASE, LIBC, OTHER, NO_FILE)

_ENGINE_MODULE = re.compile(r"app_\w+\.so\Z")
# Some modules bring their interpreter with them, as source files of others.
_OWN_INTERPRETER = re.compile(r"/app_jsdt/duktape\.|/app_sqlang/squirrel/")
_INTERPRETER = re.compile(r"lib(lua|luajit|python|ruby)[\w.-]*\.so|\.cpython-|/ruby/|/lua/|/python\d")
_DATABASE = re.compile(r"db_mysql\.so|lib(mariadb|mysqlclient)\.so")
_LIBC = re.compile(r"/(libc|libm|libpthread|libdl|ld-linux[\w-]*|ld)[.-]")


def of(function: Function) -> str:
    """Whose it is: one of the names above, or a module of Kamailio's."""
    path = function.object
    if _ENGINE_MODULE.search(path):
        return INTERPRETER if _OWN_INTERPRETER.search(function.file) else ENGINE
    if _DATABASE.search(path):
        return DATABASE
    if path in {"", "???"}:
        return NO_FILE
    if _INTERPRETER.search(path):
        return INTERPRETER
    if path.endswith("/kamailio"):
        return MEMORY if "/core/mem/" in function.file else CORE
    if "/kamailio/" in path:
        return PurePosixPath(path).stem
    return LIBC if _LIBC.search(path) else OTHER


def in_order(names: set[str]) -> list[str]:
    """As a table has them."""
    modules = sorted(names - {*FIRST, *LAST})
    return [name for name in (*FIRST, *modules, *LAST) if name in names]
