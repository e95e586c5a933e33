"""What boards reported: the store, questions to it, and what leaves it (Prometheus, Parquet, alerts)."""
