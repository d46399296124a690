"""A process beside each process of a run: it sees deaths and hangs, names the rank everywhere, and ends its own.

`yolox.cli.watch` starts it. It knows the standard library only, so that it is there at once and small: nothing in this
folder imports the rest of the library. It is a process, since a thread would wait for the compiler; and in a session of
its own, since msrun kills the sessions of all workers as soon as it sees that one has ended, perhaps before they have
said a word.

The watcher of rank 0 hears those of the others over TCP and decides.
"""
