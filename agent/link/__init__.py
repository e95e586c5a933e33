"""The agent's way to the fleet: samples into the outbox, the outbox over MQTT to the collector that acknowledges."""
