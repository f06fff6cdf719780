"""The cloud's process: events in, desired documents out, the registries of models and sites, and people's API."""
