"""The real world: ports, threads, processes, files, the terminal."""
