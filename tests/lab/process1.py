#!/usr/bin/python3
"""process1.py FILE: answers on the system's bus for systemd as logind asks it, and writes into FILE
which units logind would have it start.  So a real logind can be told to shut a machine down that goes on."""
import sys
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.freedesktop.systemd1"


class Unit(dbus.service.Object):
    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, _interface, name):
        return {"LoadState": "loaded", "ActiveState": "inactive"}.get(name, "")


class Manager(dbus.service.Object):
    @dbus.service.method(NAME + ".Manager")
    def Subscribe(self):
        pass

    @dbus.service.method(NAME + ".Manager", in_signature="ss", out_signature="o")
    def StartUnit(self, name, _mode):
        with open(sys.argv[1], "a", encoding="utf-8") as started:
            started.write(name + "\n")
        return dbus.ObjectPath("/org/freedesktop/systemd1/job/1")


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
owned = dbus.service.BusName(NAME, bus)
units = [Unit(bus, "/org/freedesktop/systemd1/unit/" + u) for u in ("poweroff_2etarget", "reboot_2etarget")]
manager = Manager(bus, "/org/freedesktop/systemd1")
GLib.MainLoop().run()
