"""vckpt: what a program in a checkpointed guest can ask, for Python, by ctypes.

The functions of <vckpt/vckpt.h>; vckpt(3) tells what they do.  Outside a guest, and where the
library is not installed, Program() works and `there` is False: requests return None.

    import vckpt

    me = vckpt.Program()
    me.listen(lambda event, epoch, incarnation, ok: print(event, epoch), seconds=5)
    with me.hold_off("writes its tables", seconds=30):
        ...
    outcome = me.checkpoint("before the long part", seconds=60)
    if outcome and outcome.restored:
        ...
"""
import contextlib
import ctypes
import os

__all__ = ["Program", "Error", "NotNow", "Outcome", "in_guest", "incarnation", "version",
           "BEFORE", "AFTER", "RESTORED"]

BEFORE, AFTER, RESTORED = 1, 2, 3
PENDING, NOBODY, NOT_NOW = 1, -3, -11


class Outcome(ctypes.Structure):
    """What became of a request: epoch, incarnation, restored, retry."""
    _fields_ = [("epoch", ctypes.c_ulonglong), ("incarnation", ctypes.c_long),
                ("restored", ctypes.c_int), ("retry", ctypes.c_double)]


class Error(Exception):
    """Not granted; `code` is of enum vckpt_result."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class NotNow(Error):
    """Too soon, or a checkpoint waits; `retry`: ask again in so many seconds, 0 unknown."""

    def __init__(self, code, text, retry=0.0):
        super().__init__(code, text)
        self.retry = retry


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_ulonglong,
                             ctypes.c_long, ctypes.c_int)
_P, _S, _D, _U = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_double, ctypes.c_ulonglong
_FUNCTIONS = {
    "vckpt_version": (ctypes.c_uint, []),
    "vckpt_in_guest": (ctypes.c_int, []),
    "vckpt_incarnation": (ctypes.c_long, []),
    "vckpt_open": (ctypes.c_int, [ctypes.POINTER(_P)]),
    "vckpt_close": (None, [_P]),
    "vckpt_text": (_S, [_P]),
    "vckpt_fd": (ctypes.c_int, [_P]),
    "vckpt_checkpoint": (ctypes.c_int, [_P, _S, _D, ctypes.POINTER(Outcome)]),
    "vckpt_checkpoint_start": (ctypes.c_int, [_P, _S]),
    "vckpt_checkpoint_test": (ctypes.c_int, [_P, ctypes.POINTER(Outcome)]),
    "vckpt_hold_off": (ctypes.c_int, [_P, _S, _D]),
    "vckpt_let_go": (ctypes.c_int, [_P]),
    "vckpt_listen": (ctypes.c_int, [_P, _D, _CALLBACK, _P]),
    "vckpt_poll": (ctypes.c_int, [_P]),
    "vckpt_report": (ctypes.c_int, [_P, _S, _D, _D, _S]),
    "vckpt_progress": (ctypes.c_int, [_P, _U, _U]),
}


def _load():
    try:
        lib = ctypes.CDLL(os.environ.get("VCKPT_LIBRARY", "libvckpt.so.0"))
    except OSError:
        return None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = _load()


def version():
    """Of the library; None where it is not installed."""
    return _lib.vckpt_version() if _lib else None


def in_guest():
    return bool(_lib and _lib.vckpt_in_guest())


def incarnation():
    """How many times the cluster was restored; None outside a guest."""
    n = _lib.vckpt_incarnation() if _lib else -1
    return n if n >= 0 else None


class Program:
    """A handle: used by one thread at a time.  Callbacks run inside poll() and checkpoint().
    Scratch memory has no place in Python, whose objects lie where the interpreter puts them."""

    def __init__(self):
        self._handle = _P()
        self._callback = None
        self._raised = None
        code = _lib.vckpt_open(ctypes.byref(self._handle)) if _lib else NOBODY
        if code < 0 and code != NOBODY:
            raise Error(code, "the vckpt agent of this guest cannot be reached")

    @property
    def there(self):
        """Whether there is an agent to ask."""
        return bool(self._handle)

    def close(self):
        if self._handle:
            _lib.vckpt_close(self._handle)
        self._handle = _P()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, name, *arguments, outcome=None):
        if not self._handle:
            return None
        code = getattr(_lib, name)(self._handle, *arguments)
        raised, self._raised = self._raised, None
        if raised:
            raise raised
        if code >= 0:
            return code
        text = _lib.vckpt_text(self._handle).decode(errors="replace")
        if code == NOT_NOW:
            raise NotNow(code, text, outcome.retry if outcome else 0.0)
        raise Error(code, text)

    def checkpoint(self, why="", seconds=-1.0):
        """Returns an Outcome when the checkpoint is committed, and again, with `restored`, in each
        life restored from it.  None: nobody to ask."""
        o = Outcome()
        code = self._call("vckpt_checkpoint", why.encode(), seconds, ctypes.byref(o), outcome=o)
        return None if code is None else o

    def checkpoint_start(self, why=""):
        return self._call("vckpt_checkpoint_start", why.encode())

    def checkpoint_test(self):
        """An Outcome, or None while it is not decided."""
        o = Outcome()
        code = self._call("vckpt_checkpoint_test", ctypes.byref(o), outcome=o)
        return o if code == 0 else None

    @contextlib.contextmanager
    def hold_off(self, why="", seconds=10.0):
        """No checkpoint is begun within; raises NotNow, before anything is done, if one waits."""
        self._call("vckpt_hold_off", why.encode(), seconds)
        try:
            yield self
        finally:
            self._call("vckpt_let_go")

    def listen(self, callback, seconds=5.0):
        """callback(event, epoch, incarnation, ok); what it raises comes out of poll()."""
        def run(_, event, epoch, life, ok):
            try:
                callback(event, epoch, life, bool(ok))
            except BaseException as e:  # pylint: disable=broad-except
                self._raised = e
        self._callback = _CALLBACK(run)
        return self._call("vckpt_listen", seconds, self._callback, None)

    def poll(self):
        return self._call("vckpt_poll")

    def fileno(self):
        """For select and its like; -1: none at present."""
        return _lib.vckpt_fd(self._handle) if self._handle else -1

    def report(self, what, chance, seconds=0.0, text=""):
        return self._call("vckpt_report", what.encode(), chance, seconds, text.encode())

    def progress(self, done, total):
        return self._call("vckpt_progress", done, total)
