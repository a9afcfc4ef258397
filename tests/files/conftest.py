"""Fixtures of the attacks by other users."""

from other_user import shared  # noqa: F401 - a fixture
