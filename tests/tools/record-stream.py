#!/usr/bin/env python3
"""record-stream: gather migration streams from a real QEMU, and show QEMU the ones vckpt assembled.

    record-stream.py record FOLDER       writes FOLDER/stream-{background,stopcopy,tiny}.zst
    record-stream.py accept STREAM...    each STREAM (.zst or raw) is loaded by a QEMU with -incoming,
                                         migrated out again, and every page of memory compared

A tool for developers: the unit tests replay what it recorded and need neither QEMU nor Python.
TCG only.  Background snapshots need CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1.
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

QEMU = os.environ.get("QEMU", "qemu-system-x86_64")

# A boot sector that counts in the first word of every page from 64 KiB to 576 KiB for ever, so that a
# background snapshot meets write faults and sends pages out of order.
BOOT = bytes.fromhex(
    "fa"          # cli
    "b80010"      # again: mov ax, 0x1000
    "8ec0"        # next:  mov es, ax
    "26ff060000"  #        inc word [es:0]
    "050001"      #        add ax, 0x100
    "3d0090"      #        cmp ax, 0x9000
    "72f1"        #        jb next
    "ebec"        #        jmp again
).ljust(510, b"\0") + b"\x55\xaa"


class Qemu:
    """One QEMU with its QMP socket; ended by leaving the `with`."""

    def __init__(self, kind, incoming=False):
        self.dir = tempfile.mkdtemp(prefix="record-stream.")
        args = [QEMU, "-accel", "tcg", "-nodefaults", "-display", "none", "-S",
                "-qmp", "unix:%s/qmp,server=on,wait=off" % self.dir]
        if kind == "tiny":
            args += ["-machine", "none", "-m", "64K"]
        else:
            boot, fill = self.dir + "/boot", self.dir + "/fill"
            with open(boot, "wb") as f:
                f.write(BOOT.ljust(1 << 20, b"\0"))
            with open(fill, "wb") as f:  # 600 pages that are neither zero nor the same
                for i in range(600):
                    f.write(((b"page %d of a recorded guest. " % (i * 7919)) * 200)[:4096])
            args += ["-machine", "pc", "-m", "16",
                     "-drive", "if=ide,format=raw,file=" + boot]
            if not incoming:
                args += ["-device", "loader,addr=0x800000,force-raw=on,file=" + fill]
        if incoming:
            args += ["-incoming", "defer"]
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        self.sock = socket.socket(socket.AF_UNIX)
        for _ in range(500):
            try:
                self.sock.connect(self.dir + "/qmp")
                break
            except OSError:
                if self.proc.poll() is not None:
                    raise SystemExit("QEMU ended with %d" % self.proc.returncode)
                time.sleep(0.02)
        self.lines = self.sock.makefile("r")
        json.loads(self.lines.readline())
        self("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.wait()
        shutil.rmtree(self.dir)

    def __call__(self, command, fd=None, **args):
        req = json.dumps({"execute": command, "arguments": args}).encode()
        socket.send_fds(self.sock, [req], [fd] if fd is not None else [])
        while True:
            reply = json.loads(self.lines.readline())
            if "error" in reply:
                raise SystemExit("%s: %s" % (command, reply["error"]["desc"]))
            if "return" in reply:
                return reply["return"]

    def migrate_out(self, background, slowly=False):
        r, w = os.pipe()
        caps = [{"capability": "background-snapshot", "state": background}]
        self("migrate-set-capabilities", capabilities=caps)
        self("migrate-set-parameters", **{"max-bandwidth": 1 << 32})
        self("getfd", fd=w, fdname="out")
        os.close(w)
        self("migrate", uri="fd:out")
        data = bytearray()
        while True:
            piece = os.read(r, 1 << 16)
            if not piece:
                break
            data += piece
            if slowly:
                time.sleep(0.005)
        os.close(r)
        while True:
            info = self("query-migrate")
            if info["status"] == "completed":
                return bytes(data)
            if info["status"] in ("failed", "cancelled"):
                raise SystemExit("migration: %s" % info)
            time.sleep(0.01)

    def migrate_in(self, data):
        path = self.dir + "/in"
        with open(path, "wb") as f:
            f.write(data)
        self("migrate-incoming", uri="exec:cat " + path)
        while True:
            info = self("query-migrate")
            if info.get("status") == "completed":
                return self("query-status")["status"]
            if info.get("status") == "failed" or self.proc.poll() is not None:
                raise SystemExit("QEMU refused the stream: %s" % info)
            time.sleep(0.01)


def memory(s):
    """{(block, offset): page} of a stream; a second reading of the format, on purpose not vckpt's."""
    pages, blocks, last = {}, {}, None
    n = struct.unpack(">I", s[9:13])[0]
    at = 13 + n
    while s[at] != 4:
        kind, at = s[at], at + 5
        if kind == 1:
            at += 1 + s[at] + 8
        while True:
            word = struct.unpack(">Q", s[at:at + 8])[0]
            flags, off, at = word & 0xfff, word & ~0xfff, at + 8
            if flags == 0x10:
                break
            if flags == 0x04:
                while off:
                    name = s[at + 1:at + 1 + s[at]]
                    at += 1 + s[at]
                    blocks[name] = struct.unpack(">Q", s[at:at + 8])[0]
                    off -= blocks[name]
                    at += 8
                continue
            if not flags & 0x20:
                last = s[at + 1:at + 1 + s[at]]
                at += 1 + s[at]
            if flags & 0x02:
                pages[last, off] = s[at:at + 1] * 4096
                at += 1
            elif flags & 0x08:
                pages[last, off] = s[at:at + 4096]
                at += 4096
            else:
                raise SystemExit("record flags %#x at %d" % (flags, at))
        at += 5
    assert len(pages) * 4096 == sum(blocks.values())
    return pages


def zstd(args, data):
    return subprocess.run(["zstd", "-q", "-c"] + args, input=data, stdout=subprocess.PIPE,
                          check=True).stdout


def record(folder):
    def keep(name, data):
        packed = zstd(["-19"], data)
        with open("%s/stream-%s.zst" % (folder, name), "wb") as f:
            f.write(packed)
        print("%s: %d bytes, %d packed, %d pages" % (name, len(data), len(packed),
                                                     len(memory(data))))

    with Qemu("pc") as q:
        q("cont")
        time.sleep(3)
        keep("background", q.migrate_out(True, slowly=True))
        q("stop")
        keep("stopcopy", q.migrate_out(False))
    with Qemu("tiny") as q:
        keep("tiny", q.migrate_out(False))


def accept(path):
    with open(path, "rb") as f:
        data = f.read()
    if data[:4] == b"\x28\xb5\x2f\xfd":
        data = zstd(["-d"], data)
    kind = "tiny" if b"none" in data[9:20] else "pc"
    with Qemu(kind, incoming=True) as q:
        status = q.migrate_in(data)
        again = q.migrate_out(False)
    before, after = memory(data), memory(again)
    wrong = [k for k in before if before[k] != after.get(k)]
    print("%s: accepted (%s), %d pages, %d differ" % (path, status, len(before), len(wrong)))
    for name, off in wrong[:5]:
        print("    %s at %#x" % (name.decode(), off))
    return not wrong and before.keys() == after.keys()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "record":
        record(sys.argv[2])
    elif len(sys.argv) > 2 and sys.argv[1] == "accept":
        sys.exit(0 if all([accept(p) for p in sys.argv[2:]]) else 1)
    else:
        sys.exit(__doc__)
