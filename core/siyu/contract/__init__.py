"""The contract between siyu and its plugins: hooks, parameters, facts, conditions and base classes."""
