"""Make the data of a search: strain, simulated or imported, signals and injections."""
