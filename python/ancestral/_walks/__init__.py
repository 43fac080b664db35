"""Calls of the core, made of as many walks as memory takes: along given data, of new samples, within sets."""
