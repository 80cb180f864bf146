"""Settings to every object, built once; no globals, nothing happens at import."""
