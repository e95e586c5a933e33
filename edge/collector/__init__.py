"""The background process of a fleet folder: broker, tunnels, and the one writer of the telemetry store."""
