"""Settings to every object, built once; no globals, nothing happens at import.

One file a process, and one function in it that serves until SIGTERM or SIGINT and stops cleanly: doors first, then what
they stand on. A process imports its own file only, so that it starts without what the others need.
"""
