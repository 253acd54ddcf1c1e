"""Turns an agent into evidence: environments, engines, rollouts, objectives, telemetry. Knows no evolution."""
