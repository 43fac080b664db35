"""What can be asked of a model: one operation a file, each a base class of `ancestral.Model`."""
