"""Checkers that ship with the package, so that anyone can hold an engine, transport or store to its promises."""
