"""Representative and held-out data. There is no default data, ever."""
