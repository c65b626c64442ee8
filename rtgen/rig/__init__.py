"""Everything outside the instrument's logic: ports, threads, processes, files, the terminal."""
