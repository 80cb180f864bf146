"""Generated from `protos/`; do not edit. See `protos/README.md`."""
