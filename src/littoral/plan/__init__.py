"""Decisions, all pure: what a plan uses, what use costs now, and which plan is cheapest."""
