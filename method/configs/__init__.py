"""One frozen `Config` per run, layered from YAML files and flags, every value with its source."""
