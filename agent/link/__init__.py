"""The agent's way to the fleet: samples through the outbox to the collector, requests from clients to what serves."""
