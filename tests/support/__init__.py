"""What several test files share: families of models, their float64 truth, tables of operations and arguments, files."""
