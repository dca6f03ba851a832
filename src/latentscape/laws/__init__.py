"""Public conformance checks, one module a noun: each raises ``AssertionError`` where a member breaks its noun's law."""
