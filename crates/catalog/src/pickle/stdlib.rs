//! The names of Python's standard library, of Python 2.7 up to 3.14: what a pickle that means harm reaches for.
//! Source: `sys.stdlib_module_names`, and the list of modules in the manual of Python 2.7.

/// Whether a module is part of Python itself. Names that begin with `_` are: no package of others is spelled so.
pub(super) fn contains(module: &str) -> bool {
    let root = module.split('.').next().unwrap_or(module);
    root.starts_with('_') && root != "__main__" || MODULES.binary_search(&root).is_ok()
}

/// Sorted, for the search.
#[rustfmt::skip]
const MODULES: &[&str] = &[
    "ConfigParser", "Queue", "SocketServer", "StringIO", "Tkinter", "__builtin__", "abc", "aifc", "annotationlib",
    "antigravity", "anydbm", "argparse", "array", "ast", "asynchat", "asyncio", "asyncore", "atexit", "audioop",
    "base64", "bdb", "binascii", "bisect", "bsddb", "builtins", "bz2", "cPickle", "cProfile", "cStringIO", "calendar",
    "cgi", "cgitb", "chunk", "cmath", "cmd", "code", "codecs", "codeop", "collections", "colorsys", "commands",
    "compileall", "compiler", "compression", "concurrent", "configparser", "contextlib", "contextvars", "copy",
    "copy_reg", "copyreg", "crypt", "csv", "ctypes", "curses", "dataclasses", "datetime", "dbhash", "dbm", "decimal",
    "difflib", "dis", "distutils", "dl", "doctest", "dummy_thread", "email", "encodings", "ensurepip", "enum", "errno",
    "exceptions", "faulthandler", "fcntl", "filecmp", "fileinput", "fnmatch", "fractions", "ftplib", "functools", "gc",
    "genericpath", "getopt", "getpass", "gettext", "glob", "graphlib", "grp", "gzip", "hashlib", "heapq", "hmac",
    "html", "http", "httplib", "idlelib", "imaplib", "imghdr", "imp", "importlib", "imputil", "inspect", "io",
    "ipaddress", "itertools", "json", "keyword", "lib2to3", "linecache", "locale", "logging", "lzma", "mailbox",
    "mailcap", "marshal", "math", "md5", "mimetools", "mimetypes", "mmap", "modulefinder", "msilib", "msvcrt",
    "multifile", "multiprocessing", "netrc", "new", "nis", "nntplib", "nt", "ntpath", "nturl2path", "numbers", "opcode",
    "operator", "optparse", "os", "os2", "ossaudiodev", "pathlib", "pdb", "pickle", "pickletools", "pipes", "pkgutil",
    "platform", "plistlib", "popen2", "poplib", "posix", "posixfile", "posixpath", "pprint", "profile", "pstats", "pty",
    "pwd", "py_compile", "pyclbr", "pydoc", "pydoc_data", "pyexpat", "queue", "quopri", "random", "re", "readline",
    "reprlib", "resource", "rexec", "rlcompleter", "runpy", "sched", "secrets", "select", "selectors", "sets", "sha",
    "shelve", "shlex", "shutil", "signal", "site", "smtpd", "smtplib", "sndhdr", "socket", "socketserver", "spwd",
    "sqlite3", "sre_compile", "sre_constants", "sre_parse", "ssl", "stat", "statistics", "statvfs", "string",
    "stringprep", "struct", "subprocess", "sunau", "symtable", "sys", "sysconfig", "syslog", "tabnanny", "tarfile",
    "telnetlib", "tempfile", "termios", "test", "textwrap", "this", "thread", "threading", "time", "timeit", "tkinter",
    "token", "tokenize", "tomllib", "trace", "traceback", "tracemalloc", "tty", "turtle", "turtledemo", "types",
    "typing", "unicodedata", "unittest", "urllib", "urllib2", "urlparse", "user", "uu", "uuid", "venv", "warnings",
    "wave", "weakref", "webbrowser", "whichdb", "winreg", "winsound", "wsgiref", "xdrlib", "xml", "xmlrpc", "zipapp",
    "zipfile", "zipimport", "zlib", "zoneinfo",
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_is_sorted() {
        assert!(super::MODULES.is_sorted());
        assert!(super::contains("os") && super::contains("os.path") && super::contains("__builtin__"));
        assert!(!super::contains("omegaconf") && !super::contains("__main__"));
    }
}
