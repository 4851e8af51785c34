"""The words everyone uses: arrays, errors, registry, hashing, seeds, files, console, machine."""
