"""The loop, a module a step: ingest → decide → playbooks → dispatch. The imperative shell around the engine."""
